//! Where what is secret may be, and that it is nowhere else: not in the journal, not in `/run` or `/var`, not on the console, and in
//! no core dump.

use crate::debian::base64;
use anyhow::Result;
use qemu_tests::Vm;

/// The password of the document.
pub(super) const PASSWORD: &str = "it's 99% a secret";
/// One that is too short, and refused.
pub(super) const REFUSED: &str = "Unheard-0f";

/// Looks for the lines that it gets on its input, all of them at once, and says what it has found where.
const SEARCH: &str = r#"
    secrets=$(base64 -d)
    search() { grep --only-matching --binary-files=text --fixed-strings -e "$secrets" "$@"; }
    search --recursive --with-filename --devices=skip /etc /run /var | sort --unique
    journalctl --all --output export | search --label=journal --with-filename | sort --unique
    find /core* /root /run /tmp /var -type f \( -name core -o -name 'core[.-]*' -o -name '*.core' -o -path '*/coredump/*' \) 2> /dev/null
    true
"#;

pub(super) fn not_told(vm: &mut Vm) -> Result<()> {
    // The last one is none, and shows that the journal is searched.
    let sought = format!("{PASSWORD}\n{REFUSED}\nhook after-apply/10-hostname is done");
    // Encoded, so that the search itself, which lies in /run, is not what it finds.
    let found = vm.run(&format!("echo {} | {{ {SEARCH} }}", base64(&sought)))?;
    let allowed = |line: &str| {
        line == format!("/etc/petstore/password:{PASSWORD}")
            || line.ends_with(":hook after-apply/10-hostname is done")
    };
    let (expected, others): (Vec<_>, Vec<_>) = found.lines().partition(|line| allowed(line));
    assert!(others.is_empty(), "{others:?}");
    assert!(expected.iter().any(|line| line.starts_with("/etc/")), "{found}");
    assert!(expected.iter().any(|line| line.starts_with("journal:")), "{found}");
    let console = vm.console.text();
    assert!(console.contains("ovf-agent[") && !console.contains(PASSWORD) && !console.contains(REFUSED));
    Ok(())
}
