//! The certificate: who says that the manifest is theirs.
//!
//! Decides whether the signature in a `.cert` file is one of the manifest by the certificate beside it, and, where
//! authorities are named, whether they vouch for that certificate. The program `openssl` does the arithmetic
//! (docs/decisions/016); without it the signature stays unverified, which is said. Where it is there and this machine keeps it
//! from its work, nothing is judged, and that is no pass.
//!
//! The rule: DSP0243, 5.1: `SHA256(name.mf)= digits`, the digits being an RSA signature, then an X.509 certificate in PEM.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use super::Package;
use super::digest::Algorithm;
use crate::bounded;
use crate::finding::{Code, Finding, printable, quoted};
use crate::program::{Limits, Program};
use crate::scratch;
use crate::xml::Source;

/// The largest certificate file in bytes.
const MAX_CERTIFICATE: u64 = 1 << 20;
/// The first line of a certificate.
pub const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// The largest file of authorities: Debian's has half a megabyte.
const MAX_AUTHORITIES: u64 = 16 << 20;
/// What openssl may take: each of its answers is there at once.
const OPENSSL: Limits = Limits { time: Some(Duration::from_secs(60)), bytes: 1 << 20 };

/// Certificates of those who are trusted: authorities, or signers themselves.
#[derive(Debug)]
pub struct Authorities {
    file: String,
    pem: String,
}

impl Authorities {
    /// Reads them.
    ///
    /// # Errors
    /// There are none in this file.
    pub fn read(path: &Path) -> Result<Self, Finding> {
        let file = path.display().to_string();
        let bad = |message: String| Finding::with(&file, Code::Unreadable, message);
        let pem = bounded::text(path, MAX_AUTHORITIES)
            .map_err(|error| bad(format!("the certificates of whom to trust cannot be read: {error}")))?;
        if !pem.contains(CERTIFICATE) && !pem.contains("-----BEGIN TRUSTED CERTIFICATE-----") {
            let message =
                "there is no certificate in it, so nobody would be trusted; name certificates in PEM";
            return Err(bad(message.to_owned()));
        }
        Ok(Self { file, pem })
    }
}

/// Who has signed a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Its name, as RFC 2253 writes it.
    pub subject: String,
    /// Whether the authorities vouch for it, where there are any.
    pub is_trusted: Option<bool>,
}

/// Verifies the signature of this manifest. Answers whose it is, if it is one. Where authorities are named, there has to be one.
pub fn verify(
    package: &Package,
    manifest: Option<&Source>,
    authorities: Option<&Authorities>,
    findings: &mut Vec<Finding>,
) -> Option<Signer> {
    let name = package.beside("cert");
    let bytes = package.read(&name, MAX_CERTIFICATE);
    let source = match bytes.and_then(|bytes| bytes.map(|bytes| Source::new(&name, bytes)).transpose()) {
        Ok(source) => source,
        Err(finding) => {
            findings.push(finding);
            return None;
        }
    };
    let (source, manifest) = match (source, manifest) {
        (Some(source), Some(manifest)) => (source, manifest),
        (Some(_), None) => {
            let message = format!("there is no {} that this could sign", quoted(&package.beside("mf")));
            findings.push(Finding::with(&name, Code::CertificateWithoutManifest, message));
            return None;
        }
        (None, _) => {
            if authorities.is_some() {
                let message = format!(
                    "nobody has signed this: there is no {}; get the package from its maker, or do without --ca",
                    quoted(&name)
                );
                findings.push(Finding::with(package.descriptor(), Code::Unsigned, message));
            }
            return None;
        }
    };
    match signature(&source, package, manifest, authorities, findings) {
        Ok(signer) => Some(signer),
        Err(finding) => {
            if finding.code == Code::SignatureUnverified && authorities.is_some() {
                let message = "the signature could not be verified, so nobody can be trusted for it";
                findings.push(Finding::with(&name, Code::Unsigned, message));
            }
            findings.push(finding);
            None
        }
    }
}

fn signature(
    source: &Source,
    package: &Package,
    manifest: &Source,
    authorities: Option<&Authorities>,
    findings: &mut Vec<Finding>,
) -> Result<Signer, Finding> {
    let bad = |byte: usize, message: String| source.finding(Code::CertificateSyntax, byte, message);
    let line = source.text.lines().next().unwrap_or_default();
    let (algorithm, signed, digits) = signed(line).ok_or_else(|| {
        bad(
            0,
            format!("the first line is no signature; write SHA256({})= and its digits", package.beside("mf")),
        )
    })?;
    if signed != package.beside("mf") {
        let message = format!(
            "{} is signed here, and the manifest is {}",
            quoted(signed),
            quoted(&package.beside("mf"))
        );
        return Err(bad(0, message));
    }
    let begin = source.text.find(CERTIFICATE).ok_or_else(|| {
        bad(source.text.len(), "there is no certificate in PEM after the signature; append it".to_owned())
    })?;

    let unverified = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            let message = "the signature was not verified: there is no openssl; install it";
            source.finding(Code::SignatureUnverified, 0, message)
        }
        _ => {
            let message = format!("the signature could not be verified: openssl cannot be run: {error}");
            source.finding(Code::Unreadable, 0, message)
        }
    };
    let unwritten = |error: io::Error| {
        let message = format!("the signature could not be verified: {}", scratch::unwritten(&error));
        source.finding(Code::Unreadable, 0, message)
    };
    let directory = scratch::Directory::new(None).map_err(unwritten)?;
    let path = |name: &str| directory.path().join(name);
    fs::write(path("certificate"), &source.text[begin..]).map_err(unwritten)?;
    fs::write(path("signature"), &digits).map_err(unwritten)?;
    let written =
        File::create(path("manifest")).and_then(|mut file| io::copy(&mut manifest.bytes(), &mut file));
    written.map_err(unwritten)?;
    let openssl = |arguments: &[&str]| {
        Program::new("openssl").arguments(arguments).within(directory.path()).run(OPENSSL)
    };

    let key = openssl(&["x509", "-in", "certificate", "-noout", "-pubkey"]).map_err(unverified)?;
    if !key.status.success() {
        return Err(bad(begin, "openssl does not read this as an X.509 certificate".to_owned()));
    }
    fs::write(path("key"), &key.stdout).map_err(unwritten)?;
    let kind = format!("-{}", algorithm.as_str().to_ascii_lowercase());
    let verdict = openssl(&["dgst", &kind, "-verify", "key", "-signature", "signature", "manifest"]);
    if !verdict.map_err(unverified)?.status.success() {
        let message = format!(
            "this is no signature of {} by the certificate below; one of the three was changed, get the package again",
            quoted(signed)
        );
        return Err(source.finding(Code::SignatureInvalid, 0, message));
    }

    let subject = openssl(&["x509", "-in", "certificate", "-noout", "-subject", "-nameopt", "RFC2253"])
        .map(|output| subject(&output))
        .map_err(unverified)?;
    let shown = quoted(&subject);
    let in_time = openssl(&["x509", "-in", "certificate", "-noout", "-checkend", "0"]).map_err(unverified)?;
    if !in_time.status.success() {
        let message =
            format!("the certificate of {shown} is out of date; ask for a package that is signed anew");
        findings.push(source.finding(Code::SignerExpired, begin, message));
    }
    let Some(Authorities { file, pem }) = authorities else {
        let message = format!(
            "the manifest is signed by {shown}; --ca FILE says whose signatures are trusted, and without it anybody's are"
        );
        findings.push(source.finding(Code::SignerUnknown, begin, message));
        return Ok(Signer { subject, is_trusted: None });
    };
    fs::write(path("authorities"), pem).map_err(unwritten)?;
    // Whoever is named is trusted, be it a root, an authority below one, or the signer itself.
    let chain = openssl(&[
        "verify",
        "-partial_chain",
        "-no-CApath",
        "-no-CAstore",
        "-untrusted",
        "certificate",
        "-CAfile",
        "authorities",
        "certificate",
    ])
    .map_err(unverified)?;
    let is_trusted = chain.status.success();
    if !is_trusted {
        let why = refusal(&chain).map_or(String::new(), |why| format!(" ({why})"));
        let message = format!(
            "the authorities in {} do not vouch for {shown}{why}; do not use the package, or name others with --ca",
            printable(file)
        );
        findings.push(source.finding(Code::SignerUntrusted, begin, message));
    }
    Ok(Signer { subject, is_trusted: Some(is_trusted) })
}

/// Why `openssl verify` takes a certificate for none that counts.
pub fn refusal(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let (_, why) = said.lines().find_map(|line| line.strip_prefix("error ")?.split_once("lookup: "))?;
    Some(printable(why))
}

/// What `SHA256(name)= digits` says.
fn signed(line: &str) -> Option<(Algorithm, &str, Vec<u8>)> {
    let (algorithm, rest) = line.split_once('(')?;
    let (name, digits) = rest.rsplit_once(")=").or_else(|| rest.rsplit_once(") ="))?;
    let digits = digits.trim();
    let nibble = |at: usize| digits.get(at..at + 1).and_then(|it| u8::from_str_radix(it, 16).ok());
    let bytes: Option<Vec<u8>> =
        (0..digits.len()).step_by(2).map(|at| Some(nibble(at)? << 4 | nibble(at + 1)?)).collect();
    Some((Algorithm::named(algorithm.trim())?, name, bytes.filter(|it| !it.is_empty())?))
}

fn subject(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.trim();
    text.strip_prefix("subject=").unwrap_or(text).to_owned()
}
