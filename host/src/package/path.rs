//! Names of files, as references and archives have them.
//!
//! Decides which name in the package an `ovf:href` means, and which names are none: a package comes from anywhere, and
//! what is in it must never name a file elsewhere. Pure; what links do is for `Package::file` to see.
//!
//! The rules: DSP0243, 7.1 (hrefs are relative to the descriptor, or of http and https); RFC 3986 for percent escapes.

#![forbid(unsafe_code)]

/// Where a reference leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a file of the package, of this name.
    Inside(String),
    /// To a server, by http or https.
    Remote,
    /// To something of this scheme.
    Scheme(String),
    /// Out of the package, or nowhere.
    Outside(&'static str),
}

/// What an `ovf:href` means.
pub fn resolve(href: &str) -> Target {
    if let Some((scheme, rest)) = href.split_once(':')
        && !scheme.is_empty()
        && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it))
    {
        // `C:\disk.vmdk` has no scheme; nor has `a:b.vmdk` in the wild, but then `./a:b.vmdk` says so.
        return match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" if rest.starts_with("//") => Target::Remote,
            _ if scheme.len() == 1 => Target::Outside("is absolute"),
            _ => Target::Scheme(scheme.to_owned()),
        };
    }
    match unescaped(href) {
        Some(path) => inside(&path).map_or_else(Target::Outside, Target::Inside),
        None => Target::Outside("has a percent escape that is none"),
    }
}

/// A path as the name of a file inside of the package.
///
/// # Errors
/// Why it is none.
pub fn inside(path: &str) -> Result<String, &'static str> {
    if path.starts_with('/') || path.starts_with('\\') {
        return Err("is absolute");
    }
    let mut name = String::with_capacity(path.len());
    for part in path.split('/') {
        match part {
            "" | "." => continue,
            ".." => return Err("has `..` in it"),
            _ if part.split('\\').any(|it| it == "..") => return Err("has `..` in it"),
            _ => {}
        }
        if part.chars().any(char::is_control) {
            return Err("has a control character in it");
        }
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(part);
    }
    match name.as_str() {
        "" => Err("is empty"),
        _ if path.ends_with('/') => Err("is a directory"),
        _ => Ok(name),
    }
}

fn unescaped(href: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(href.len());
    let mut rest = href.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |it: u8| (it as char).to_digit(16);
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{Target, resolve};

    #[test]
    fn references_lead_inside_or_are_refused() {
        let inside = |name: &str| Target::Inside(name.to_owned());
        for (href, want) in [
            ("disk.vmdk", inside("disk.vmdk")),
            ("./disks//a%20b.vmdk", inside("disks/a b.vmdk")),
            ("https://example.com/disk.vmdk", Target::Remote),
            ("HTTP://example.com/d", Target::Remote),
            ("file:///etc/shadow", Target::Scheme("file".to_owned())),
            ("/etc/shadow", Target::Outside("is absolute")),
            ("C:\\disk.vmdk", Target::Outside("is absolute")),
            ("../disk.vmdk", Target::Outside("has `..` in it")),
            ("a/%2e%2E/../disk.vmdk", Target::Outside("has `..` in it")),
            ("a\\..\\disk.vmdk", Target::Outside("has `..` in it")),
            ("%2Fetc%2Fshadow", Target::Outside("is absolute")),
            ("", Target::Outside("is empty")),
            ("./", Target::Outside("is empty")),
            ("disks/", Target::Outside("is a directory")),
            ("a%0Ab", Target::Outside("has a control character in it")),
            ("100%", Target::Outside("has a percent escape that is none")),
            ("%FF", Target::Outside("has a percent escape that is none")),
        ] {
            assert_eq!(resolve(href), want, "{href}");
        }
    }
}
