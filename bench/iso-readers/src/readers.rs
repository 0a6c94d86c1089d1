//! The readers, each made to do what the agent needs: the document out of the root directory.
//!
//! Decides how each is asked, as fairly as can be: all look for the name by the same rule, stop after as many records,
//! and read no longer files. What they do inside is their own.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::panic::panic_any;

use hadris_fs::sync::FileSystem;
use hadris_fs::{DirCursor, Error, ErrorKind, MountOptions, OpenMode};
use hadris_iso::sync::IsoFs;
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};
use hostile::drive::{Drive, Found};

const RECORDS: usize = 10_000;
const LONGEST: u64 = 16 << 20;
/// Reads of the image after which a reader is going in circles: more than the longest file takes, block by block.
/// Counted, and not timed, so that the number is the same on every machine.
const READS: u32 = 10_000;

/// What is thrown at a reader that goes in circles.
pub struct Endless;

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

/// Notes a read of the image.
fn count_read() {
    LEFT.set(LEFT.get() - 1);
    if LEFT.get() == 0 {
        panic_any(Endless);
    }
}

/// Starts to count anew.
pub fn begin() {
    LEFT.set(READS);
}

/// An image in memory, as a file.
struct Counted<'a>(Cursor<&'a [u8]>);

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        count_read();
        self.0.read(buffer)
    }
}

impl Seek for Counted<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// What a reader makes of an image.
pub enum Outcome {
    /// A file with the document's name: the name as the reader shows it, and the content.
    File(String, Vec<u8>),
    /// An image without one. The agent says the same of what is no image.
    Nothing,
    /// No image, or one that cannot be read.
    Refused,
}

/// Looks for the document in an image.
pub type Reader = fn(&[u8]) -> Outcome;

/// The names of the readers, and how each reads.
pub const READERS: [(&str, Reader); 4] = [
    ("cdfs 0.2.3", cdfs),
    ("iso9660 0.1.1", iso9660),
    ("hadris-iso 3.0.0-rc.2", hadris),
    ("ovf-agent", agent),
];

/// `ovf-env.xml` as any kind of names spells it.
fn is_document(name: &str) -> bool {
    let name = name.rsplit_once(';').map_or(name, |(name, _)| name).trim_end_matches('.');
    name.replace('_', "-").eq_ignore_ascii_case("ovf-env.xml")
}

fn cdfs(image: &[u8]) -> Outcome {
    let Ok(iso) = cdfs::ISO9660::new(Counted(Cursor::new(image))) else { return Outcome::Refused };
    for entry in iso.root().contents().take(RECORDS) {
        match entry {
            Ok(entry) => {
                let name = entry.identifier().to_owned();
                if let cdfs::DirectoryEntry::File(file) = entry
                    && is_document(&name)
                {
                    return content(name, file.read());
                }
            }
            Err(_) => return Outcome::Refused,
        }
    }
    Outcome::Nothing
}

fn iso9660(image: &[u8]) -> Outcome {
    let Ok(iso) = iso9660::ISO9660::new(Counted(Cursor::new(image))) else { return Outcome::Refused };
    for entry in iso.root.contents().take(RECORDS) {
        match entry {
            Ok(iso9660::DirectoryEntry::File(file)) if is_document(&file.identifier) => {
                return content(file.identifier.clone(), file.read());
            }
            Ok(_) => {}
            Err(_) => return Outcome::Refused,
        }
    }
    Outcome::Nothing
}

fn content(name: String, file: impl Read) -> Outcome {
    let mut bytes = Vec::new();
    match file.take(LONGEST + 1).read_to_end(&mut bytes) {
        Ok(len) if len as u64 <= LONGEST => Outcome::File(name, bytes),
        _ => Outcome::Refused,
    }
}

fn hadris(image: &[u8]) -> Outcome {
    hadris_by_its_errors(image).unwrap_or(Outcome::Refused)
}

fn hadris_by_its_errors(image: &[u8]) -> Result<Outcome, Error<io::Error>> {
    let mut iso = IsoFs::mount(Slice(image), MountOptions::new())?;
    let root = iso.root();
    let mut cursor = DirCursor::START;
    for _ in 0..RECORDS {
        let Some(entry) = iso.readdir(root, cursor)? else { return Ok(Outcome::Nothing) };
        cursor = entry.next_cursor();
        let name = String::from_utf8_lossy(entry.name().as_bytes()).into_owned();
        if !entry.file_type().is_file() || !is_document(&name) {
            continue;
        }
        let (node, len) = (entry.node(), entry.metadata().len());
        if len > LONGEST {
            return Ok(Outcome::Refused);
        }
        iso.open(node, OpenMode::Read)?;
        let mut bytes = vec![0; len as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match iso.read(node, filled as u64, &mut bytes[filled..])? {
                0 => return Ok(Outcome::Refused),
                count => filled += count,
            }
        }
        return Ok(Outcome::File(name, bytes));
    }
    Ok(Outcome::Refused)
}

/// An image in memory as hadris-iso wants to see it.
#[derive(Debug)]
struct Slice<'a>(&'a [u8]);

impl hadris_io::ErrorType for Slice<'_> {
    type Error = io::Error;
}

impl BlockDevice for Slice<'_> {
    fn block_size(&self) -> BlockSize {
        BlockSize::new(512).expect("not zero")
    }

    fn block_count(&self) -> u64 {
        self.0.len() as u64 / 512
    }

    fn read_blocks(&mut self, first: BlockIndex, buffer: &mut [u8]) -> Result<(), Error<io::Error>> {
        count_read();
        let start = first.get().saturating_mul(512) as usize;
        match self.0.get(start..start.saturating_add(buffer.len())) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => return Err(Error::new(ErrorKind::Corrupt, "a pointer lies outside the image")),
        }
        Ok(())
    }
}

fn agent(image: &[u8]) -> Outcome {
    // Its reads are the kernel's and cannot be counted here; the time for one image is limited all the same.
    let mut drive = Drive::new().expect("a memory file");
    drive.insert(image).expect("memory");
    match drive.read() {
        // It keeps the name to itself.
        Found::Document(bytes) => Outcome::File("(found)".to_owned(), bytes),
        Found::Nothing => Outcome::Nothing,
        Found::Broken(_) => Outcome::Refused,
    }
}
