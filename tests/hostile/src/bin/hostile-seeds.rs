//! `hostile-seeds DIRECTORY`: writes the proper images, documents, properties, templates, values and packages below it, for the
//! fuzzer to start from.

use std::path::Path;
use std::{fs, io};

use hostile::{bases, packages, parameters, templates};

fn main() -> io::Result<()> {
    let directory =
        std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: hostile-seeds DIRECTORY"))?;
    let directory = Path::new(&directory);
    let images = directory.join("iso");
    fs::create_dir_all(&images)?;
    for base in bases::images()? {
        fs::write(images.join(base.name), base.bytes)?;
    }
    for (target, seeds) in [
        ("environment", bases::documents()?),
        ("parameters", parameters::bases()),
        ("templates", templates::bases()?),
        ("values", templates::values()),
        ("descriptor", packages::descriptors()?),
        ("archive", packages::archives()?),
    ] {
        let directory = directory.join(target);
        fs::create_dir_all(&directory)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(directory.join(format!("case-{number}")), seed)?;
        }
    }
    Ok(())
}
