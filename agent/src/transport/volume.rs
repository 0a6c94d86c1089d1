//! A volume on a device, read by whoever the configuration says.
//!
//! Decides between reading (`iso`) and mounting (`mounted`), and words their failures with the device's name.

#![forbid(unsafe_code)]

use std::path::Path;

use tracing::warn;
use zeroize::Zeroizing;

use super::iso::Image;
use super::mounted::Volume;
use super::tree::{self, Broken, ExtraFile, Tree};
use super::{Error, Method, Source};
use crate::sys::device::{Device, Medium};
use crate::sys::{self, Root};

/// What is on a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The document, byte for byte.
    Document(Zeroizing<Vec<u8>>),
    /// An ISO 9660 volume without a document: somebody else's disc.
    NoDocument,
    /// No ISO 9660 volume.
    NotIso,
}

/// Opens the image or device that the caller named.
pub(super) fn open_named(path: &Path) -> Result<Device, Error> {
    match Device::open_named(path)? {
        Medium::Present(device) => Ok(device),
        Medium::Absent | Medium::NotReady => Err(Error::NoMedium(Source::Iso(path.to_path_buf()))),
    }
}

/// The volume's label; `None` where there is no ISO 9660 volume.
pub(super) fn label(device: &Device, path: &Path) -> Result<Option<String>, Error> {
    let image = Image::open(device).map_err(|broken| error(path, broken))?;
    Ok(image.map(|image| image.label().to_owned()))
}

/// Reads the document from a device, whose name in errors is `path`.
pub(super) fn document(device: &Device, path: &Path, method: Method) -> Result<Content, Error> {
    let read = || Image::open(device)?.map(|image| image.document()).transpose();
    let mount = || Ok(Some(tree::document(&mut Volume::mount(device, path)?)?));
    by_method(device, path, method, read, mount).map(|found| match found {
        Some(Some(bytes)) => Content::Document(bytes),
        Some(None) => Content::NoDocument,
        None => Content::NotIso,
    })
}

/// Reads in user space, has the kernel read, or tries both. The kernel is not asked to mount what is plainly something
/// else.
fn by_method<T>(
    device: &Device,
    path: &Path,
    method: Method,
    read: impl FnOnce() -> Result<Option<T>, Broken>,
    mount: impl FnOnce() -> Result<Option<T>, Broken>,
) -> Result<Option<T>, Error> {
    let outcome = match method {
        Method::Read => read(),
        Method::Mount if matches!(Image::open(device), Ok(None)) => Ok(None),
        Method::Mount => mount(),
        Method::Auto => read().or_else(|first| match mount() {
            Ok(found) => {
                warn!(stage = "transport", device = %path.display(), "read by mounting it, since {first}");
                Ok(found)
            }
            Err(second) => Err(match first {
                Broken::Format(what) => Broken::Format(format!("{what}, and the kernel says: {second}")),
                first => first,
            }),
        }),
    };
    outcome.map_err(|broken| error(path, broken))
}

fn error(path: &Path, broken: Broken) -> Error {
    let path = path.to_path_buf();
    match broken {
        Broken::Device { what, error: source } => Error::Device { path, what, source },
        Broken::System(error) => Error::Unreadable(error),
        Broken::Taker(error) => Error::Extract(error),
        Broken::Format(_) | Broken::Defect(_) => Error::Image { path, reason: broken.to_string() },
    }
}

/// Where a document came from, to look at what came with it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its source.
    pub source: &'a Source,
    /// The machine whose device it is; `None` where the caller named it.
    pub root: Option<&'a Root>,
    /// Who reads it.
    pub method: Method,
}

impl Place<'_> {
    /// Does something with the volume's tree. A volume that came as no ISO has nothing in it.
    fn with_tree<T: Default>(
        &self,
        mut act: impl FnMut(&mut dyn Tree) -> Result<T, Broken>,
    ) -> Result<T, Error> {
        let Source::Iso(path) = self.source else { return Ok(T::default()) };
        let no_medium = || Error::NoMedium(self.source.clone());
        let device = match self.root {
            None => open_named(path)?,
            Some(root) => match root.open_device(path)? {
                Some(Medium::Present(device)) => device,
                _ => return Err(no_medium()),
            },
        };
        let mut act = || match (self.method, Image::open(&device)) {
            (_, Ok(None)) => Ok(None),
            (Method::Mount, _) => act(&mut Volume::mount(&device, path)?).map(Some),
            // Files that were read in part are not begun again by the other method.
            (Method::Read | Method::Auto, image) => match image? {
                Some(image) => act(&mut image.best_tree()?).map(Some),
                None => Ok(None),
            },
        };
        act().map_err(|broken| error(path, broken))?.ok_or_else(no_medium)
    }
}

/// The files that came with the document, in the order of their paths.
///
/// # Errors
/// The volume cannot be read.
pub fn files(place: Place<'_>) -> Result<Vec<ExtraFile>, Error> {
    place.with_tree(tree::files)
}

/// Gives each file that came with the document to `take`; all of them, or, where one is refused, none.
///
/// # Errors
/// The volume cannot be read, has a file that is refused, or `take` fails.
pub fn extract(
    place: Place<'_>,
    mut take: impl FnMut(&ExtraFile, &[u8]) -> sys::Result<()>,
) -> Result<(), Error> {
    place.with_tree(|tree| tree::extract(tree, &mut take))
}
