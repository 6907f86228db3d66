//! A certificate authority of a test's own, and certificates in files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Vouches for what it issues.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        match CertifiedIssuer::self_signed(params, key()) {
            Ok(issuer) => Self { issuer },
            Err(error) => panic!("no authority: {error}"),
        }
    }

    /// Writes its own certificate.
    pub fn write(&self, path: &Path) {
        write(path, "CERTIFICATE", self.issuer.der());
    }

    /// A certificate for these names, and for who connects, as `<name>.crt` and `<name>.key`.
    pub fn issue(&self, directory: &Path, name: &str, names: &[&str]) -> Certificate {
        let mut params = params(names);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = key();
        let cert = match params.signed_by(&key, &self.issuer) {
            Ok(cert) => cert,
            Err(error) => panic!("no certificate: {error}"),
        };
        let written = Certificate {
            cert: directory.join(format!("{name}.crt")),
            key: directory.join(format!("{name}.key")),
        };
        write(&written.cert, "CERTIFICATE", cert.der());
        write(&written.key, "PRIVATE KEY", key.serialized_der());
        written
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    match CertificateParams::new(names) {
        Ok(params) => params,
        Err(error) => panic!("no names for a certificate: {error}"),
    }
}

fn key() -> KeyPair {
    match KeyPair::generate() {
        Ok(key) => key,
        Err(error) => panic!("no key: {error}"),
    }
}

fn write(path: &Path, label: &str, der: &[u8]) {
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem = format!("{pem}-----END {label}-----\n");
    // Whole at once: whoever reads it again reads one or the other.
    let part = path.with_extension("part");
    let written = fs::write(&part, pem).and_then(|()| fs::rename(&part, path));
    if let Err(error) = written {
        panic!("cannot write {}: {error}", path.display());
    }
}
