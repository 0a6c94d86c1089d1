//! Deployments come and go, and do not collide.

use std::path::Path;

use super::{Kind, Record, Refusal, Store, name_of};

fn record(name: &str) -> Record {
    Record {
        name: name.to_owned(),
        package: "/shop.ova".into(),
        descriptor: String::new(),
        configuration: None,
        properties: vec![("key".to_owned(), "s3cret".to_owned().into())],
        platform: Vec::new(),
        engine: Kind::Qemu { program: "qemu".into(), accelerator: "tcg".to_owned() },
        subnet: None,
        key: super::key(),
        published: Vec::new(),
        guests: Vec::new(),
        steps: Vec::new(),
        unsettled: Vec::new(),
    }
}

fn message(refusal: Refusal) -> String {
    match refusal {
        Refusal::Usage(it) | Refusal::Busy(it) | Refusal::Failed(it) => it,
    }
}

#[test]
fn one_command_at_a_time_and_nothing_is_left() {
    let scratch = tempfile::tempdir().expect("a directory");
    let store = Store::at(Some(&scratch.path().join("state"))).expect("a store");
    assert!(message(store.open(None).expect_err("nothing is there")).starts_with("nothing is deployed ("));
    let shop = store.create(record("shop")).expect("made");
    let busy = store.open(None).expect_err("it is being made");
    assert_eq!(
        busy,
        Refusal::Busy("another ovf-host is at work on `shop`; wait for it, or interrupt it".to_owned())
    );
    let again = || message(store.create(record("shop")).expect_err("it is there"));
    let there = "there is a deployment `shop` already; ";
    assert!(
        again().starts_with(&format!("{there}another ovf-host is at work on it: wait for it, or ")),
        "{}",
        again()
    );
    drop(shop);
    assert!(again().starts_with(&format!("{there}end it with `ovf-host down shop`, or ")), "{}", again());

    store.create(record("crib")).expect("made");
    let several = message(store.open(None).expect_err("two"));
    assert_eq!(several, "there are several deployments, `crib`, `shop`; say which with --name");
    let other = message(store.open(Some("shup")).expect_err("no such"));
    assert_eq!(other, "there is no deployment `shup`; `shop` was probably meant");
    for name in ["shop", "crib"] {
        let open = store.open(Some(name)).expect("nobody is at work");
        assert_eq!(open.record.properties[0].1.reveal(), "s3cret");
        open.remove().expect("removed");
    }
    assert_eq!(store.names(), Ok(vec![]));
}

#[test]
fn one_that_was_never_made_is_in_nobodys_way() {
    let scratch = tempfile::tempdir().expect("a directory");
    let store = Store::at(Some(scratch.path())).expect("a store");
    let directory = store.create(record("shop")).expect("made").directory().to_owned();
    std::fs::remove_file(directory.join("deployment.json")).expect("it was there");
    let half = message(store.open(None).expect_err("nothing is remembered"));
    assert!(
        half.ends_with("nothing of it was started yet, and the next `ovf-host up` makes it anew"),
        "{half}"
    );
    let shop = store.create(record("shop")).expect("made anew").directory().to_owned();
    std::fs::write(shop.join("deployment.json"), "{").expect("written");
    let broken = message(store.open(None).expect_err("what it has made is not known"));
    assert!(
        broken.ends_with(&format!(
            "work in {0}, or libvirt's domains of its name, and remove it",
            shop.display()
        )),
        "{broken}"
    );
}

#[test]
fn its_files_are_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = tempfile::tempdir().expect("a directory");
    let store = Store::at(Some(scratch.path())).expect("a store");
    let shop = store.create(record("shop")).expect("made");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(shop.directory()), mode(&shop.directory().join("deployment.json"))), (0o700, 0o600));
}

#[test]
fn ids_make_names_and_what_is_none_is_refused() {
    for (id, want) in
        [("PetStore", "PetStore"), ("a b/c", "a-b-c"), ("..", "appliance"), ("", "appliance"), ("ö", "-")]
    {
        assert_eq!(name_of(id), want, "{id}");
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let store = Store::at(Some(scratch.path())).expect("a store");
    let refused = message(store.create(record("../x")).expect_err("no name"));
    assert!(refused.starts_with("`../x` cannot be the name of a deployment"), "{refused}");
    let deep = Store::at(Some(&scratch.path().join("x".repeat(100)))).expect("a store");
    let refused = message(deep.create(record("shop")).expect_err("too deep"));
    assert!(refused.contains("bytes too long for the sockets in it"), "{refused}");
}
