//! The fields of a platform section.
//!
//! Decides what their text means: `cim:cimString` and, for the time zone, `xs:int` in DSP8027 1.0.0. Blanks
//! around it come from indentation and do not count. Does not decide what a platform is called (`detect`).
#![forbid(unsafe_code)]

use super::Platform;

/// A child of the platform section.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Kind,
    Version,
    Vendor,
    Locale,
    Timezone,
}

impl Field {
    /// By element name. The prose of ISO/IEC 17203 has `TimeZone`, the schema `Timezone`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Kind" => Self::Kind,
            "Version" => Self::Version,
            "Vendor" => Self::Vendor,
            "Locale" => Self::Locale,
            "Timezone" | "TimeZone" => Self::Timezone,
            _ => return None,
        })
    }

    /// Takes over the text of this field, or says what is odd about it. The last of several counts.
    pub(super) fn set(self, platform: &mut Platform, text: &str) -> Result<(), String> {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        // It goes into comments of rendered files, and into logs: one line, or nothing.
        if text.contains(char::is_control) {
            return Err(format!("`{self:?}` has a control character; ignored"));
        }
        let again = match self {
            Self::Kind => platform.kind.replace(text.to_owned()).is_some(),
            Self::Version => platform.version.replace(text.to_owned()).is_some(),
            Self::Vendor => platform.vendor.replace(text.to_owned()).is_some(),
            Self::Locale => platform.locale.replace(text.to_owned()).is_some(),
            Self::Timezone => {
                let minutes = text.parse().ok();
                let before = std::mem::replace(&mut platform.timezone, minutes);
                if minutes.is_none() {
                    return Err("`Timezone` is not a number of minutes; ignored".to_owned());
                }
                before.is_some()
            }
        };
        if again { Err(format!("`{self:?}` is given again; the last one counts")) } else { Ok(()) }
    }
}
