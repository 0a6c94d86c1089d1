//! What is compared: which disk, which files lie over it, and what must have come of them.
//!
//! All guests find the same disc in their drive. Its document has the hostname as both look for it; the two files come from
//! properties of the appliance's own through the agent's templates, or word by word from the `user-data` that cloud-init
//! reads. Both are configured as somebody would who wants the boot to be short: cloud-init is told that there is no
//! other source and no network to set up, so that it neither searches nor waits.

use qemu_tests::Files;

/// What the guest is called once it is configured.
pub(crate) const HOSTNAME: &str = "db1";

/// The files that are to be written, with their modes.
pub(crate) const WRITTEN: [(&str, &str, &str); 3] = [
    ("/etc/hostname", "644", "db1\n"),
    ("/etc/mydb/mydb.conf", "644", "[server]\nlisten = 192.0.2.11\npeer = 192.0.2.12\nlog = low\n"),
    ("/etc/mydb/mydb.env", "600", "MYDB_LISTEN='192.0.2.11'\nMYDB_PEER='192.0.2.12'\n"),
];

/// One of those that are compared.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Its disk's directory.
    pub(crate) image: &'static str,
    /// Whether the guest is configured at all.
    pub(crate) configures: bool,
    /// What lies over its disk.
    pub(crate) files: Files,
}

pub(crate) fn all() -> Vec<Kind> {
    let kind = |name, image, files: Files| Kind {
        name,
        image,
        configures: image != "base",
        files: common().and(files),
    };
    vec![
        kind("neither", "base", Files::new()),
        kind("cloud-init", "cloud-init", cloud_init()),
        kind("cloud-init, least", "cloud-init", cloud_init().and(least())),
        kind("ovf-agent", "ovf-agent", agent()),
    ]
}

/// The document that is on the disc.
pub(crate) fn document() -> String {
    let user_data = base64(user_data().as_bytes());
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
    xmlns:oe="http://schemas.dmtf.org/ovf/environment/1" oe:id="DB1">
  <PropertySection>
    <Property oe:key="hostname" oe:value="{HOSTNAME}"/>
    <Property oe:key="user-data" oe:value="{user_data}"/>
    <Property oe:key="com.mydb.db.ip" oe:value="192.0.2.11"/>
    <Property oe:key="com.mydb.db.peer" oe:value="192.0.2.12"/>
    <Property oe:key="com.mydb.db.log" oe:value="low"/>
  </PropertySection>
</Environment>
"#
    )
}

/// What cloud-init is told: the two files, word by word.
fn user_data() -> String {
    let mut text = "#cloud-config\nwrite_files:\n".to_owned();
    for (path, mode, content) in &WRITTEN[1..] {
        text += &format!("- path: {path}\n  permissions: \"0{mode}\"\n  content: |\n");
        text.extend(content.lines().map(|line| format!("    {line}\n")));
    }
    text
}

/// What every guest has: who watches, and a slice in which all that is measured runs, so that its processor time and memory are
/// still known when the last process of it has ended.
fn common() -> Files {
    let mut files = Files::new()
        .with_program("/usr/local/lib/test/control", include_str!("../../../guest/control"))
        .with("/etc/systemd/system/control.service", include_str!("../../../guest/debian/control.service"))
        .with_link("/etc/systemd/system/sysinit.target.wants/control.service", "../control.service")
        .with("/etc/systemd/system/measured.slice", "[Slice]\nCPUAccounting=yes\nMemoryAccounting=yes\n")
        // With an empty one systemd would enable and disable units by their presets first.
        .with("/etc/machine-id", "0f0a9e27000040008000000000000002\n")
        .with("/etc/hostname", "guest\n")
        .with_directory("/etc/mydb");
    // The agent's hook runs in a unit that begins with its name.
    for unit in ["cloud-init-local", "cloud-init", "cloud-config", "cloud-final", "ovf-agent", "ovf-agent-"] {
        let path = format!("/etc/systemd/system/{unit}.service.d/measured.conf");
        files = files.with(&path, "[Service]\nSlice=measured.slice\n");
    }
    files
}

fn cloud_init() -> Files {
    // The locale is the one that Debian always has, and there is no SSH server whose keys would be made.
    let configuration =
        "datasource_list: [OVF]\nnetwork: {config: disabled}\nlocale: C.UTF-8\nssh_genkeytypes: []\n";
    Files::new().with("/etc/cloud/cloud.cfg.d/90-ovf.cfg", configuration)
}

/// No more of cloud-init than the outcome needs: of its modules two, of its four services the two that run those.
fn least() -> Files {
    let configuration = "cloud_init_modules: [write-files, set_hostname]\ncloud_config_modules: []\ncloud_final_modules: []\n";
    Files::new()
        .with("/etc/cloud/cloud.cfg.d/91-least.cfg", configuration)
        .with_link("/etc/systemd/system/cloud-config.service", "/dev/null")
        .with_link("/etc/systemd/system/cloud-final.service", "/dev/null")
}

fn agent() -> Files {
    let template = |path: &str, mode: &str, escape: &str, body: &str| {
        format!("+++\npath = \"{path}\"\nmode = \"0{mode}\"\nescape = \"{escape}\"\n+++\n{body}")
    };
    let configuration = r#"[parameters]
hostname = { key = "hostname", type = "hostname", required = true }
ip       = { key = "com.mydb.db.ip", type = "ipv4", required = true }
peer     = { key = "com.mydb.db.peer", type = "ipv4", required = true }
log      = { key = "com.mydb.db.log", type = "string", default = "normal" }
"#;
    let directory = "/etc/ovf-agent";
    Files::new()
        .with(&format!("{directory}/agent.toml"), configuration)
        .with(
            &format!("{directory}/templates/hostname.tera"),
            template("/etc/hostname", "644", "none", "{{ hostname }}\n"),
        )
        .with(
            &format!("{directory}/templates/mydb.conf.tera"),
            template(
                "/etc/mydb/mydb.conf",
                "644",
                "ini",
                "[server]\nlisten = {{ ip }}\npeer = {{ peer }}\nlog = {{ log }}\n",
            ),
        )
        .with(
            &format!("{directory}/templates/mydb.env.tera"),
            template("/etc/mydb/mydb.env", "600", "shell", "MYDB_LISTEN={{ ip }}\nMYDB_PEER={{ peer }}\n"),
        )
        // The file is for the next boot; the kernel has to be told for this one.
        .with_program(
            &format!("{directory}/hooks.d/after-apply/10-hostname"),
            "#!/bin/sh\nexec hostname -F /etc/hostname\n",
        )
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or_default()));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(super::base64(bytes.as_bytes()), text, "{bytes:?}");
        }
    }
}
