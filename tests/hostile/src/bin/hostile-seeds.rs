//! `hostile-seeds DIRECTORY`: writes the proper images and documents below it, for the fuzzer to start from.

use std::path::Path;
use std::{fs, io};

use hostile::bases;

fn main() -> io::Result<()> {
    let directory =
        std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: hostile-seeds DIRECTORY"))?;
    let directory = Path::new(&directory);
    let (images, documents) = (directory.join("iso"), directory.join("environment"));
    fs::create_dir_all(&images)?;
    fs::create_dir_all(&documents)?;
    for base in bases::images()? {
        fs::write(images.join(base.name), base.bytes)?;
    }
    for (number, document) in bases::documents()?.iter().enumerate() {
        fs::write(documents.join(format!("case-{number}")), document)?;
    }
    Ok(())
}
