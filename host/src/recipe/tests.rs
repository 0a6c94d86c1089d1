//! Tests of what a recipe may say.

use std::fs;

use super::{FILE, Recipe, size};

#[test]
fn sizes_have_units() {
    for (text, want) in [
        ("512 MiB", Some(512 << 20)),
        ("4GiB", Some(4 << 30)),
        ("0 GiB", None),
        ("512", None),
        ("512 MB", None),
        ("99999999999 TiB", None),
        ("", None),
    ] {
        assert_eq!(size(text), want, "{text}");
    }
}

#[test]
fn what_cannot_be_meant_is_said_with_its_place() {
    for (text, want) in [
        ("name = \"a\"\n", ":1:1: error: the key `machines` is missing; add it [recipe]"),
        (
            "name = \"a/b\"\n[machines.m]\nmemory = \"1 MiB\"\n",
            ":1:8: error: the name `a/b` names files as well",
        ),
        ("name = \"a\"\n[machines]\n", ":1:8: error: there are no machines; add [machines.NAME] [recipe]"),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MB\"\n",
            ":3:10: error: the memory is no size; write a whole number of KiB, MiB, GiB or TiB: \"512 MiB\" [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemori = \"1 MiB\"\n",
            ":3:1: error: there is no key `memori`; `memory` was probably meant [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ndisks = [\"no.img\"]\n",
            ":4:10: error: the image `no.img` is not there",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\nnetworks = [\"in\"]\n",
            ":4:13: error: there is no network `in`",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\nagent = \"no\"\n",
            ":4:9: error: the agent's configuration `no` is not there",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ngroup = \"db\"\n[groups.DB]\n",
            ":4:9: error: there is no group `db`; add [groups.NAME]; `DB` was probably meant [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\n[groups.DB]\n",
            ":4:9: error: no machine is in the group `DB`; write group = \"DB\" in one [recipe]",
        ),
        (
            "name = \"a\"\n[groups.m]\n[machines.m]\nmemory = \"1 MiB\"\ngroup = \"m\"\n",
            ":3:11: error: the machine has the name of a group; rename one [recipe]",
        ),
        (
            "name = \"a\"\n[configurations.small]\n[machines.m]\nmemory = \"1 MiB\"\n[machines.m.configurations.smal]\n",
            ":5:28: error: there is no deployment option `smal`; add [configurations.NAME]; `small` was probably meant [recipe]",
        ),
        (
            "name = \"a\"\n[configurations.z]\ndefault = true\n[configurations.b]\ndefault = true\n[machines.m]\nmemory = \"1 MiB\"\n",
            ":4:17: error: `b` is a second default; one of them is it [recipe]",
        ),
        (
            "name = \"a\"\n[properties]\nx = { default = \"1\", value = \"2\" }\n[machines.m]\nmemory = \"1 MiB\"\n",
            ":3:30: error: `x` has a `default`, which may be changed, and a `value`, which may not; write one of them [recipe]",
        ),
        (
            "name = \"a\"\n[properties]\nx = { assign = \"mac\" }\n[machines.m]\nmemory = \"1 MiB\"\n",
            ":3:16: error: `x` is of several machines, and the address of a network card of one; write it in that machine's `assign` [recipe]",
        ),
        (
            "name = \"a\"\n[properties]\nx = { type = \"unit8\" }\n[machines.m]\nmemory = \"1 MiB\"\n",
            ":3:14: error: there is no type `unit8`; `uint8` was probably meant [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\nstart = { dealy = 1 }\n",
            ":4:11: error: there is no key `dealy`; `delay` was probably meant [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\nstop = { action = \"none\" }\n",
            ":4:8: error: there is nobody to stop this machine before or after, and OVF says it of collections alone; take `stop` away [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ncpus = 0\n",
            ":4:8: error: a whole number from 1 to 4294967295 is wanted here [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ncpus = 99999999999\n",
            ":4:8: error: a whole number from 1 to 4294967295 is wanted here [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"99999999999999 TiB\"\n",
            ":3:10: error: no machine has so much memory; write a smaller size [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ndisks = [\"99999999999999999999999 KiB\"]\n",
            ":4:10: error: no disk is so large; write a smaller size [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ndisks = [\" \"]\n",
            ":4:10: error: an image or a size is wanted here: \"disk.qcow2\", \"4 GiB\" [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ndescription = \"s3cret\\u0001\"\n",
            ":4:15: error: this has a character that XML forbids, and all of it goes into XML; remove it [recipe]",
        ),
        (
            "name = \"a\"\n[machines.mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm]\nmemory = \"1 MiB\"\n",
            ":2:11: error: the machine `mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm…` names files as well; write 80 characters at most [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ntransport = [\"guestinfo\"]\n",
            ":4:14: error: there is no transport `guestinfo`; there are `iso`, `com.vmware.guestInfo` [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\ndisks = [\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\"1 MiB\",\n\"1 MiB\"]\n",
            ":5:1: error: 15 disks are the most that a controller has room for; take this one away [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\nvalues = { a.b = \"s3cret\" }\n",
            ":4:12: error: a text is wanted here; write a key that has dots in it in quotes [recipe]",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\nvalues = { a = 1234 }\n",
            ":4:16: error: a text is wanted here; write it in quotes [recipe]",
        ),
        (
            "name = \"a\"\nname = \"b\"\n[machines.m]\nmemory = \"1 MiB\"\n",
            ":2:1: error: this key is here twice; take one of them away [recipe]",
        ),
        (
            "name = \"a\"\n[machines.-rf]\nmemory = \"1.5 GiB\"\n",
            ":2:11: error: the machine `-rf` names files as well; write letters, digits, `-`, `_` and `.`, a letter or digit first",
        ),
        (
            "name = \"a\"\n[machines.m]\nmemory = \"1.5 GiB\"\n",
            ":3:10: error: the memory is no size; write a whole number of KiB, MiB, GiB or TiB: \"512 MiB\" [recipe]",
        ),
        (
            "name = \"m\"\n[machines.m]\nmemory = \"1 MiB\"\n[machines.n]\nmemory = \"1 MiB\"\n",
            ":2:11: error: the machine has the name of the whole appliance",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE), text).expect("written");
        let findings = Recipe::read(directory.path(), false).expect_err(text);
        let said = findings[0].to_string();
        assert!(said.contains(&format!("{FILE}{want}")), "{text}: {said}");
    }
}

/// What stands in the place of something else is not repeated.
#[test]
fn what_is_of_another_kind_is_said_with_what_is_wanted() {
    let (text, list) =
        ("a text is wanted here; write it in quotes", "a list is wanted here; write it in [ ]");
    let table = "a table is wanted here; write { KEY = VALUE }, or a part of its own below [NAME]";
    let truth = "a truth value is wanted here; write true or false, without quotes";
    let actions = "there is no such word for this; there are `shutdown`, `power-off`, `none`";
    let assigns =
        "there is no such word for this; there are `address`, `netmask`, `prefix`, `gateway`, `mac`";
    let number = "a whole number from 0 to 65535 is wanted here";
    let quoted = "a whole number from 0 to 65535 is wanted here; write it without quotes";
    for (line, column, want) in [
        ("disks = \"s3cret\"", 9, list),
        ("disks = {a = 1}", 9, list),
        ("networks = 1979-05-27", 12, list),
        ("disks = [1]", 10, text),
        ("agent = 1", 9, text),
        ("licence = [\"s3cret\"]", 11, text),
        ("stop = { action = \"s3cret\" }", 19, actions),
        ("stop = { action = \"`, expected `x`\" }", 19, actions),
        (
            "stop = { action = \"power-of\" }",
            19,
            "there is no such word for this; `power-off` was probably meant",
        ),
        ("stop = { action = 1 }", 19, text),
        ("stop = { action = [\"none\"] }", 19, text),
        ("assign = { a = \"s3cret\" }", 16, assigns),
        ("assign = { a = 1 }", 16, text),
        ("stop = \"shutdown\"", 8, table),
        ("start = 1", 9, table),
        ("values = \"s3cret, expected a boolean\"", 10, table),
        ("configurations = [1]", 18, table),
        ("start = { wait-for-guest = \"s3cret\" }", 28, truth),
        ("start = { wait-for-guest = 1 }", 28, truth),
        ("start = { order = \"s3cret\" }", 19, quoted),
        ("start = { order = 65536 }", 19, number),
        ("start = { order = 1.5 }", 19, number),
        ("start = { order = 99999999999999999999 }", 19, number),
        (
            "cpus = \"s3cret, expected u16\"",
            8,
            "a whole number from 1 to 4294967295 is wanted here; write it without quotes",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let whole = format!("name = \"a\"\n[machines.m]\nmemory = \"1 MiB\"\n{line}\n");
        fs::write(directory.path().join(FILE), whole).expect("written");
        let findings = Recipe::read(directory.path(), false).expect_err(line);
        let said = findings[0].to_string();
        let want = format!("{FILE}:4:{column}: error: {want} [recipe]");
        assert!(said.ends_with(&want) && findings.len() == 1, "{line}: {said}");
    }
}
