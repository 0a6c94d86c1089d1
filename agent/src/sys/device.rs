//! Disks and optical drives, opened so that nothing is locked, spun up or changed.
//!
//! `O_NONBLOCK` matters: an ordinary open of an optical drive locks the tray, and the platform could no longer
//! swap the disc (cdrom(4); tried on IDE, AHCI, virtio-scsi and USB drives). A fresh open is also the moment at which
//! the kernel notices that the disc was swapped, so a device is opened for each read and closed after it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::{Error, Result, Root};

// linux/cdrom.h
const CDROM_DRIVE_STATUS: u16 = 0x5326;
const CDSL_CURRENT: i32 = i32::MAX;
const CDS_NO_DISC: i32 = 1;
const CDS_TRAY_OPEN: i32 = 2;
const CDS_DRIVE_NOT_READY: i32 = 3;

mod ioctl {
    nix::ioctl_write_int_bad!(cdrom_drive_status, super::CDROM_DRIVE_STATUS as nix::libc::Ioctl);
}

/// How often the kernel looks for a swapped disc where nobody has said so, in milliseconds: what udev sets
/// (60-block.rules).
const MEDIA_POLL: &str = "2000";

/// Has the kernel look for swapped discs in an optical drive and tell of them by uevents. Where that is set already, for the
/// drive or for all of them, it stays as it is.
///
/// # Errors
/// It cannot be set.
pub fn watch_media(root: &Root, drive: &Path) -> Result<()> {
    let Some(name) = drive.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
    let own = format!("/sys/block/{name}/events_poll_msecs");
    let by_default = root.clue("/sys/module/block/parameters/events_dfl_poll_msecs");
    // A disk whose media cannot be swapped has 0 there, or nothing.
    if root.clue(&own).as_deref() == Some("-1") && by_default.is_none_or(|millis| millis == "0") {
        root.set(&own, MEDIA_POLL)?;
    }
    Ok(())
}

/// What an open of a drive found.
#[derive(Debug)]
pub enum Medium {
    /// Something that can be read.
    Present(Device),
    /// An optical drive without a disc, or with its tray open.
    Absent,
    /// The drive is still looking; it will tell by an event.
    NotReady,
}

/// A readable disk, disc or image file of known size.
#[derive(Debug)]
pub struct Device {
    file: File,
    len: u64,
}

impl Device {
    /// Opens an image file or device that the caller named on the command line.
    ///
    /// # Errors
    /// It cannot be opened, or is neither a file nor a block device.
    pub fn open_named(path: &Path) -> Result<Medium> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path)
            .map_err(|source| Error::new("open", path, source))?;
        Self::from_file(file).map_err(|source| Error::new("read", path, source))
    }

    /// Judges an open file: the medium in it, and its size.
    pub(super) fn from_file(mut file: File) -> io::Result<Medium> {
        let kind = file.metadata()?.file_type();
        if kind.is_block_device() {
            // SAFETY: the descriptor is open, and CDROM_DRIVE_STATUS takes a plain integer (cdrom(4)).
            match unsafe { ioctl::cdrom_drive_status(file.as_raw_fd(), CDSL_CURRENT) } {
                Ok(CDS_NO_DISC | CDS_TRAY_OPEN) => return Ok(Medium::Absent),
                Ok(CDS_DRIVE_NOT_READY) => return Ok(Medium::NotReady),
                // A disc, a drive that does not tell, or no optical drive at all: reading decides.
                Ok(_) | Err(_) => {}
            }
        } else if !kind.is_file() {
            return Err(io::Error::other("it is neither a block device nor a regular file"));
        }
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Medium::Present(Self { file, len }))
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buffer` from byte `offset`.
    ///
    /// # Errors
    /// The device fails, or ends before the buffer is full.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// Whether an error means that the device, or the medium in it, is not there any more.
pub fn is_gone(error: &io::Error) -> bool {
    use nix::libc::{ENODEV, ENOMEDIUM, ENXIO};
    error.raw_os_error().is_some_and(|number| [ENODEV, ENOMEDIUM, ENXIO].contains(&number))
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
