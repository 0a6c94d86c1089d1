//! The signature of a package that is made here.
//!
//! Decides that key and certificate belong together, can sign and are in time, before there is any work; and what a certificate file is
//! made of. The program `openssl` does the arithmetic. Who trusts the certificate is not asked: that is for whoever gets the package.
//!
//! The rule: DSP0243, 5.1: `SHA256(name.mf)= digits`, then the certificate in PEM, here with those that were given with it.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use super::fault;
use crate::bounded;
use crate::finding::{Code, Finding};
use crate::package::certificate::{CERTIFICATE, refusal};
use crate::program::{Limits, Program};

/// Bytes of the key, and of the certificate.
const MAX_PEM: u64 = 1 << 20;
const OPENSSL: Limits = Limits { time: Some(Duration::from_secs(60)), bytes: 1 << 20 };

/// Who signs.
pub(super) struct Signer<'a> {
    key: &'a Path,
    certificates: String,
}

impl<'a> Signer<'a> {
    /// The one with this key and this certificate, the first of its file.
    ///
    /// # Errors
    /// They are none, not of each other, or cannot be read.
    pub(super) fn new(key: &'a Path, certificate: &Path) -> Result<Self, Finding> {
        // The key is openssl's to read; whether it can be is told here, in the system's words.
        drop(
            bounded::whole(key, MAX_PEM)
                .map_err(|error| unread(key, "key", Code::SignatureInvalid, &error))?,
        );
        let pem = bounded::text(certificate, MAX_PEM)
            .map_err(|error| unread(certificate, "certificate", Code::CertificateSyntax, &error))?;
        let public = |path: &Path, words: &[&str]| {
            openssl(key, words.iter().map(OsStr::new).chain([OsStr::new("-in"), path.as_os_str()]))
        };
        let of_key = public(key, &["pkey", "-passin", "pass:", "-pubout"])?;
        if !of_key.status.success() {
            let message = "openssl does not read this key; is it a private key in PEM, without a passphrase?";
            return Err(bad(key, Code::SignatureInvalid, message.to_owned()));
        }
        let of_certificate = public(certificate, &["x509", "-noout", "-pubkey"])?;
        let begin = pem.find(CERTIFICATE).filter(|_| of_certificate.status.success());
        let Some(begin) = begin else {
            let message = "this is no certificate in PEM; name the one of the key".to_owned();
            return Err(bad(certificate, Code::CertificateSyntax, message));
        };
        if of_key.stdout != of_certificate.stdout {
            let message = format!(
                "this is not the key of the first certificate in {}; name the ones that belong together",
                certificate.display()
            );
            return Err(bad(key, Code::SignatureInvalid, message));
        }
        let signer = Self { key, certificates: pem[begin..].to_owned() };
        // Anything is as good to be signed as the manifest.
        signer.digits(certificate)?;
        // As whoever names it by --ca would have it verified.
        let options = ["verify", "-partial_chain", "-no-CApath", "-no-CAstore", "-CAfile"].map(OsStr::new);
        let verdict = openssl(key, options.into_iter().chain([certificate.as_os_str(); 2]))?;
        if !verdict.status.success() {
            let why = refusal(&verdict).map_or(String::new(), |why| format!(": {why}"));
            let message = format!("nobody would trust this certificate{why}; renew it, or name another");
            return Err(bad(certificate, Code::SignerUntrusted, message));
        }
        Ok(signer)
    }

    /// The certificate file: a signature of the manifest, and the certificates.
    ///
    /// # Errors
    /// openssl's.
    pub(super) fn sign(&self, manifest: &Path, name: &str) -> Result<String, Finding> {
        Ok(format!("SHA256({name})= {}\n{}", self.digits(manifest)?, self.certificates))
    }

    fn digits(&self, file: &Path) -> Result<String, Finding> {
        // A key with a passphrase is not asked for it at the terminal.
        let options = ["dgst", "-sha256", "-passin", "pass:", "-sign"].map(OsStr::new);
        let output = openssl(self.key, options.into_iter().chain([self.key.as_os_str(), file.as_os_str()]))?;
        if !output.status.success() {
            let message = "openssl signs no SHA-256 digest by a key of this kind; take one of RSA";
            return Err(bad(self.key, Code::SignatureInvalid, message.to_owned()));
        }
        Ok(output.stdout.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn openssl<'s>(key: &Path, words: impl IntoIterator<Item = &'s OsStr>) -> Result<Output, Finding> {
    let output = Program::new("openssl").arguments(words).run(OPENSSL);
    output.map_err(|error| {
        bad(
            key,
            Code::Unreadable,
            match error.kind() {
                io::ErrorKind::NotFound => "there is no openssl, which signs; install it".to_owned(),
                _ => format!("openssl cannot be run: {error}"),
            },
        )
    })
}

/// A file that the system does not open, or that is not what was wanted.
fn unread(path: &Path, what: &str, wrong: Code, error: &io::Error) -> Finding {
    bad(path, fault(error, wrong), format!("the {what} cannot be read: {error}"))
}

fn bad(path: &Path, code: Code, message: String) -> Finding {
    Finding::with(path.display().to_string(), code, message)
}
