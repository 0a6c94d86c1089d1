//! Where a document can be, and the settings of the search for it (`[transport]`).
//!
//! Decides how places are spelt. What is done with them is decided in `look` and in `transport` itself.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::trust::Devices;
use super::wait::Patience;

/// A place that can hold a document, as `--source` and the report spell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An ISO 9660 image or drive: `iso:PATH`.
    Iso(PathBuf),
    /// The document itself: `file:PATH`.
    File(PathBuf),
    /// VMware's guestinfo variable: `guestinfo`.
    Guestinfo,
    /// QEMU's firmware configuration: `fwcfg`.
    FwCfg,
    /// A systemd credential: `credential`.
    Credential,
    /// The host, by the port: `channel`. Nothing that can be named: the host sends when it wants.
    Channel,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iso(path) => write!(f, "iso:{}", path.display()),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Guestinfo => f.write_str("guestinfo"),
            Self::FwCfg => f.write_str("fwcfg"),
            Self::Credential => f.write_str("credential"),
            Self::Channel => f.write_str("channel"),
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            (kind @ ("iso" | "file"), "") => Err(format!("`{text}` names no path; write {kind}:PATH")),
            ("iso", path) => Ok(Self::Iso(path.into())),
            ("file", path) => Ok(Self::File(path.into())),
            _ if text == "guestinfo" => Ok(Self::Guestinfo),
            _ if text == "fwcfg" => Ok(Self::FwCfg),
            _ if text == "credential" => Ok(Self::Credential),
            _ => Err(format!(
                "`{text}` is no source; write iso:PATH, file:PATH, guestinfo, fwcfg or credential"
            )),
        }
    }
}

/// One of the ways by which a document can come, as `[transport] order` spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// `iso`: drives and disks.
    Iso,
    /// `guestinfo`: VMware's guestinfo variable.
    Guestinfo,
    /// `fwcfg`: QEMU's firmware configuration.
    FwCfg,
    /// `credential`: a systemd credential.
    Credential,
    /// `file:PATH`: a file of the guest.
    File(PathBuf),
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "iso" => Ok(Self::Iso),
            None if text == "guestinfo" => Ok(Self::Guestinfo),
            None if text == "fwcfg" => Ok(Self::FwCfg),
            None if text == "credential" => Ok(Self::Credential),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::File(path.into())),
            _ => Err(format!(
                "`{text}` is no transport; write iso, guestinfo, fwcfg, credential or file:/PATH"
            )),
        }
    }
}

/// `[transport.iso] method`: who reads a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The agent itself.
    #[default]
    Read,
    /// The kernel, for the time of one look.
    Mount,
    /// The agent, and the kernel where that fails.
    Auto,
}

/// `[transport]`: where to look, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to look, the first one first.
    pub order: Vec<Transport>,
    /// Which devices are looked at for `iso`.
    pub devices: Devices,
    /// Who reads them.
    pub method: Method,
    /// How long to look.
    pub patience: Patience,
    /// How often VMware is asked whether its document has changed; zero: never.
    pub poll: Duration,
}

#[cfg(test)]
mod tests {
    use super::{Source, Transport};

    #[test]
    fn a_source_is_a_kind_and_where_it_is_needed_a_path() {
        for text in ["iso:/dev/sr0", "file:env.xml", "iso:a:b", "guestinfo", "fwcfg", "credential"] {
            let source: Source = text.parse().expect(text);
            assert_eq!(source.to_string(), text, "shown as it is written");
        }
        for text in ["", "iso", "iso:", "cd:/dev/sr0", "/dev/sr0", "fwcfg:x", "credential:", "channel"] {
            text.parse::<Source>().expect_err(text);
        }
    }

    #[test]
    fn a_transport_is_a_word_or_a_file_of_the_guest() {
        for text in ["iso", "guestinfo", "fwcfg", "credential", "file:/etc/ovf-env.xml"] {
            text.parse::<Transport>().expect(text);
        }
        for text in ["", "iso:/dev/sr0", "file", "file:", "file:env.xml", "usb"] {
            text.parse::<Transport>().expect_err(text);
        }
    }
}
