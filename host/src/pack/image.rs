//! Disk images as builders have them.
//!
//! Decides in which format an image is, that it is whole by itself, and a VDI to its end, which qemu-img does not look for.
//! qemu-img would guess the format as well, and then open whatever the image names: the backing file of a qcow2, the extents
//! of a VMDK, be it `/etc/shadow`. So the format is decided here, by the first bytes and for six of them, told to qemu-img,
//! and an image that names another file is refused. Everything else is raw, byte by byte; nothing in a raw image is looked at.
//!
//! The rules: docs/interop/qcow2 of QEMU; VMware's Virtual Disk Format 5.0; the headers of VDI, VHD and VHDX.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where a VMDK has its description, and how many bytes of it are read.
const DESCRIPTION: u64 = 512;
const DESCRIPTION_SIZE: usize = 20 << 10;

/// The part of a VDI's header that is read here.
const VDI_HEADER: usize = 392;

/// The format of an image, as qemu-img calls it.
///
/// # Errors
/// It cannot be read, is no regular file, names others, or is a VDI that is cut off.
pub(super) fn format(path: &Path) -> io::Result<&'static str> {
    let refused = |why: &str| Err(io::Error::other(why.to_owned()));
    if !std::fs::metadata(path)?.is_file() {
        return refused("it is no regular file; make an image of it first");
    }
    let file = crate::bounded::open(path)?;
    let first = read(&file, 0, 112)?;
    let number =
        |at: usize| first.get(at..at + 8).map_or(0, |it| u64::from_be_bytes(it.try_into().expect("8")));
    match &first[..] {
        [b'Q', b'F', b'I', 0xFB, ..] => {
            if number(8) != 0 {
                return refused(
                    "it is the difference to another image, which would not be in the package; `qemu-img convert -O qcow2` \
                     makes one image of both",
                );
            }
            // From version 3 on, the second of the features that have to be understood: the data are elsewhere.
            if first.get(7).is_some_and(|&version| version >= 3) && number(72) & 4 != 0 {
                return refused(
                    "its data are in another file; `qemu-img convert -O qcow2` makes one image of both",
                );
            }
            Ok("qcow2")
        }
        [b'Q', b'E', b'D', 0, ..] => {
            refused("its format is QED, which is not read here; convert it to qcow2")
        }
        [b'K', b'D', b'M', b'V', ..] => {
            // Little-endian, behind version and flags: without a capacity the description says where the data are.
            let capacity = number(12).swap_bytes();
            let description = read(&file, DESCRIPTION, DESCRIPTION_SIZE)?;
            let names_parent =
                description.windows(18).any(|it| it.eq_ignore_ascii_case(b"parentFileNameHint"));
            match capacity == 0 || names_parent {
                true => refused("it names other files; `qemu-img convert -O qcow2` makes one image of them"),
                false => Ok("vmdk"),
            }
        }
        [b'C', b'O', b'W', b'D', ..] => {
            refused("it is an old VMDK, which is not read here; convert it to qcow2")
        }
        [] => refused("it is empty; is it the image that was meant?"),
        [0x1F, 0x8B, ..] => refused("it is compressed by gzip; unpack it first"),
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => refused("it is compressed by xz; unpack it first"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => refused("it is compressed by zstd; unpack it first"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => refused("it is compressed by bzip2; unpack it first"),
        _ if first.starts_with(b"# Disk Desc") => refused(
            "it is the description of a VMDK and names other files; `qemu-img convert -O qcow2` makes one image of them",
        ),
        _ if first.starts_with(b"vhdxfile") => Ok("vhdx"),
        _ if first.starts_with(b"conectix") => Ok("vpc"),
        _ if first.get(64..68) == Some(&0xBEDA_107F_u32.to_le_bytes()) => {
            match vdi_end(&read(&file, 0, VDI_HEADER)?)
                .is_some_and(|end| file.metadata().is_ok_and(|it| it.len() >= end))
            {
                true => Ok("vdi"),
                false => refused("it is cut off; copy or build it again"),
            }
        }
        _ => Ok("raw"),
    }
}

/// The bytes that a VDI has to have: where its blocks begin, and as many as it says that it has. What is of another version,
/// which qemu-img refuses, has to have none.
fn vdi_end(header: &[u8]) -> Option<u64> {
    let number =
        |at: usize| Some(u64::from(u32::from_le_bytes(header.get(at..at + 4)?.try_into().expect("4"))));
    let (data, block, extra, allocated) = (number(344)?, number(376)?, number(380)?, number(388)?);
    match number(68)? {
        0x0001_0001 => Some(allocated.saturating_mul(block + extra).saturating_add(data)),
        _ => Some(0),
    }
}

fn read(file: &File, at: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; most];
    let mut length = 0;
    while length < most {
        match file.read_at(&mut bytes[length..], at + length as u64)? {
            0 => break,
            count => length += count,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::format;

    #[test]
    fn every_format_is_known_and_none_names_another_file() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = |name: &str| scratch.path().join(name);
        std::fs::write(path("base.img"), [0; 65536]).expect("written");
        let make = |name: &str, options: &str| {
            let mut words = options.split(' ');
            let mut command = Command::new("qemu-img");
            command.args(["create", "-q", "-f", words.next().expect("a format")]).args(words);
            command.arg(name);
            if !options.contains("-b") {
                command.arg("1M");
            }
            let output = command.current_dir(&scratch).output().expect("qemu-img runs");
            assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stderr));
        };
        for (options, want) in [
            ("raw", Ok("raw")),
            ("qcow2", Ok("qcow2")),
            ("qcow2 -o compat=0.10", Ok("qcow2")),
            ("qcow2 -b base.img -F raw", Err("it is the difference to another image")),
            ("qcow2 -o data_file=data.raw,data_file_raw=on", Err("its data are in another file")),
            ("vmdk", Ok("vmdk")),
            ("vmdk -o subformat=streamOptimized", Ok("vmdk")),
            ("vmdk -o subformat=monolithicFlat", Err("it is the description of a VMDK")),
            ("vdi", Ok("vdi")),
            ("vhdx", Ok("vhdx")),
            ("vpc", Ok("vpc")),
            ("qed", Err("its format is QED")),
        ] {
            make("image", options);
            let said = format(&path("image")).map_err(|it| it.to_string());
            match (said, want) {
                (Ok(said), Ok(want)) => assert_eq!(said, want, "{options}"),
                (Err(said), Err(want)) => assert!(said.starts_with(want), "{options}: {said}"),
                (said, want) => panic!("{options}: {said:?}, not {want:?}"),
            }
        }
        // A VMDK whose parent is named in its description, as only VMware's own tools make them.
        make("image", "vmdk");
        let mut bytes = std::fs::read(path("image")).expect("made");
        bytes[600..640].copy_from_slice(b"parentFileNameHint=\"/etc/shadow\"\n#######");
        std::fs::write(path("image"), bytes).expect("written");
        assert!(
            format(&path("image")).expect_err("a parent").to_string().starts_with("it names other files")
        );
        for (program, want) in [
            ("gzip -c", "it is compressed by gzip"),
            ("xz -c", "it is compressed by xz"),
            ("bzip2 -c", "it is compressed by bzip2"),
            ("head -c 0", "it is empty"),
        ] {
            let line = format!("{program} base.img > image");
            let status = Command::new("sh").args(["-c", &line]).current_dir(&scratch).status();
            assert!(status.expect("sh runs").success(), "{program}");
            let said = format(&path("image")).expect_err(program).to_string();
            assert!(said.starts_with(want), "{program}: {said}");
        }
        for other in ["/dev/null", "/"] {
            let said = format(std::path::Path::new(other)).expect_err(other).to_string();
            assert!(said.starts_with("it is no regular file"), "{said}");
        }
    }
}
