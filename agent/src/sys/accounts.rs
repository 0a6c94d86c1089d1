//! Users and groups by name, from the machine's own `/etc/passwd` and `/etc/group` (passwd(5), group(5)).
//!
//! Read as files and not through nsswitch: a static binary has no NSS, at early boot no directory service answers, and a
//! root that stands for another machine has accounts of its own.

use super::{Result, Root};

const LIMIT: u64 = 16 * 1024 * 1024;

/// The accounts of a machine.
#[derive(Debug, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads both files; one that is not there has no accounts.
    ///
    /// # Errors
    /// One is there but cannot be read.
    pub fn read(root: &Root) -> Result<Self> {
        let text = |path| {
            let bytes = root.read(path, LIMIT)?.unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Self { passwd: text("/etc/passwd")?, group: text("/etc/group")? })
    }

    /// Both files.
    pub fn texts(&self) -> [&str; 2] {
        [&self.passwd, &self.group]
    }

    /// A user's number; root is 0 whatever the file says.
    pub fn user(&self, name: &str) -> Option<u32> {
        if name == "root" { Some(0) } else { number(&self.passwd, name) }
    }

    /// A group's number; root is 0 whatever the file says.
    pub fn group(&self, name: &str) -> Option<u32> {
        if name == "root" { Some(0) } else { number(&self.group, name) }
    }
}

/// The third field of the line whose first is `name`: both files have the number there.
fn number(file: &str, name: &str) -> Option<u32> {
    let line = file.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Accounts;

    #[test]
    fn names_have_numbers() {
        let accounts = Accounts {
            passwd: "daemon:x:1:1::/:/bin/false\nmydb:x:120:130:a:b\nbroken:x\n".to_owned(),
            group: "mydb:x:130:\n".to_owned(),
        };
        assert_eq!((accounts.user("mydb"), accounts.group("mydb")), (Some(120), Some(130)));
        assert_eq!(
            (accounts.user("root"), accounts.user("nobody"), accounts.user("broken")),
            (Some(0), None, None)
        );
    }
}
