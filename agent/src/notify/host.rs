//! Who of the hosts listens: the address in systemd's credential `vmm.notify_socket`, and whether systemd says `READY=1` there.
//!
//! Decides where the credential is looked for: where a service manager has put it, and where there is none that imports
//! credentials, in the places it would have taken them from: QEMU's fw_cfg, then SMBIOS' OEM strings (systemd.exec(5),
//! systemd.system-credentials(7); DSP0134, 6.1.3 and 7.12). That the guest's systemd is 254 or newer, and so says `READY=1` itself
//! once its own jobs are done, is told by the name of the library that comes with it: to ask it takes a
//! conversation, and whoever is unsure says it twice, which harms nobody.

#![forbid(unsafe_code)]

use crate::sys::Root;
use crate::template::base64_decode;
use crate::transport::credential;

const NAME: &str = "vmm.notify_socket";
const LIMIT: u64 = 4096;
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/vmm.notify_socket/raw";
const SMBIOS: &str = "/sys/firmware/dmi/tables/DMI";
/// Where systemd runs the machine (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";
/// The first systemd that takes the credential.
const FIRST: u32 = 254;

/// The address, as it was given.
pub fn address(root: &Root) -> Option<String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let given = credential(root, NAME, LIMIT).ok().flatten().and_then(|bytes| text(bytes.to_vec()));
    let firmware = || root.read(FW_CFG, LIMIT).ok().flatten().and_then(text);
    let smbios = || of_smbios(&root.read(SMBIOS, 1 << 20).ok()??);
    let address = given.or_else(firmware).or_else(smbios)?;
    // QEMU's `string=` has no end of its own, files have a newline.
    let address = address.trim_end_matches(['\0', '\n']).to_owned();
    Some(address).filter(|address| !address.is_empty())
}

/// Whether PID 1 is a systemd that says `READY=1` there.
pub fn has_systemd(root: &Root) -> bool {
    let arch = std::env::consts::ARCH;
    let directories = ["/usr/lib/systemd", "/usr/lib64/systemd"].map(str::to_owned);
    let directories = directories.into_iter().chain([format!("/usr/lib/{arch}-linux-gnu/systemd")]);
    let version = |name: &String| -> Option<u32> {
        let rest = name.strip_prefix("libsystemd-shared-")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let mut names = directories.flat_map(|directory| root.list(directory).unwrap_or_default());
    root.exists(BOOTED) && names.any(|name| version(&name).is_some_and(|version| version >= FIRST))
}

/// The credential among the OEM strings (type 11) of an SMBIOS table. Each structure is its formatted part, of which the
/// first two bytes are type and length, and then strings that end in NUL, the last one in two.
fn of_smbios(mut table: &[u8]) -> Option<String> {
    const OEM_STRINGS: u8 = 11;
    while let [kind, length, ..] = *table {
        let rest = table.get(usize::from(length)..)?;
        let end = rest.windows(2).position(|pair| pair == [0, 0])?;
        if kind == OEM_STRINGS {
            let found = rest[..end].split(|byte| *byte == 0).find_map(of_oem_string);
            if found.is_some() {
                return found;
            }
        }
        table = &rest[end + 2..];
    }
    None
}

fn of_oem_string(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let value = |prefix: &str| text.strip_prefix(prefix)?.strip_prefix(NAME)?.strip_prefix('=');
    if let Some(value) = value("io.systemd.credential:") {
        return Some(value.to_owned());
    }
    String::from_utf8(base64_decode(value("io.systemd.credential.binary:")?)?).ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes the machine it looks at")]
mod tests {
    use super::{BOOTED, FW_CFG, NAME, Root, SMBIOS, address, has_systemd};
    use std::fs;
    use std::path::Path;

    /// A table with these OEM strings between two structures of other types.
    fn table(strings: &[&str]) -> Vec<u8> {
        let mut table =
            [&[1_u8, 6, 0, 0, 9, 9][..], b"io.systemd.credential:vmm.notify_socket=vsock:9:9\0\0"].concat();
        table.extend([11, 5, 1, 0, strings.len() as u8]);
        strings.iter().for_each(|string| table.extend([string.as_bytes(), &[0]].concat()));
        table.push(0);
        // Without strings: two NULs.
        table.extend([127, 4, 2, 0, 0, 0]);
        table
    }

    fn put(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
        fs::write(path, bytes).expect("write");
    }

    #[test]
    fn the_address_is_where_somebody_has_put_it() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let root = Root::open(dir.path()).expect("a directory");
        let plain = "io.systemd.credential:vmm.notify_socket=vsock-stream:2:1234";
        // vsock:2:5
        let binary = "io.systemd.credential.binary:vmm.notify_socket=dnNvY2s6Mjo1";
        for (strings, want) in [
            (&[][..], None),
            (&["io.systemd.credential:other=1", "vmm.notify_socket=vsock:2:1"], None),
            (&["something", plain], Some("vsock-stream:2:1234")),
            (&[binary], Some("vsock:2:5")),
            (&["io.systemd.credential.binary:vmm.notify_socket=?"], None),
            (&["io.systemd.credential:vmm.notify_socket="], None),
        ] {
            put(dir.path(), SMBIOS, table(strings));
            assert_eq!(address(&root).as_deref(), want, "{strings:?}");
        }
        for cut in 0..table(&[plain]).len() {
            put(dir.path(), SMBIOS, &table(&[plain])[..cut]);
            address(&root);
        }
        put(dir.path(), FW_CFG, "@name\0");
        assert_eq!(address(&root).as_deref(), Some("@name"));
        put(dir.path(), &format!("/run/credentials/@system/{NAME}"), "/run/host/notify\n");
        assert_eq!(address(&root).as_deref(), Some("/run/host/notify"), "what systemd imported goes first");
    }

    #[test]
    fn systemd_is_known_by_its_library() {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let root = Root::open(dir.path()).expect("a directory");
        put(dir.path(), "/usr/lib/systemd/libsystemd-shared-257.4-3.fc42.so", "");
        assert!(!has_systemd(&root), "it is installed, and does not run");
        fs::create_dir_all(dir.path().join(&BOOTED[1..])).expect("mkdir");
        assert!(has_systemd(&root));
        fs::remove_dir_all(dir.path().join("usr")).expect("rm");
        let debian = format!("/usr/lib/{}-linux-gnu/systemd", std::env::consts::ARCH);
        put(dir.path(), &format!("{debian}/libsystemd-shared-252.so"), "");
        put(dir.path(), &format!("{debian}/libsystemd-core-257.so"), "");
        assert!(!has_systemd(&root), "Debian 12's is too old");
        put(dir.path(), &format!("{debian}/libsystemd-shared-254.so"), "");
        assert!(has_systemd(&root));
    }
}
