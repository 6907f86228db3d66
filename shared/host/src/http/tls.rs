//! Encryption of callers' connections: TLS 1.2 and 1.3, with a certificate that is read again when
//! its files change.
//!
//! A certificate of the caller's, where one is asked for, only lets the connection be made: who
//! asks is still what the token says.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::watched::Watched;

/// What a service is told, all in PEM.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate, and those between it and an authority.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Whose certificates callers must show one of.
    pub client_ca: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read `{path}`")]
    Unreadable {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` holds no {what} in PEM")]
    Malformed {
        path: String,
        what: &'static str,
        #[source]
        source: pem::Error,
    },
    #[error("the certificate in `{cert}` and the key in `{key}` do not fit together")]
    Unfit {
        cert: String,
        key: String,
        #[source]
        source: rustls::Error,
    },
    #[error("the authorities in `{path}` cannot vouch for callers")]
    Authorities {
        path: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("TLS cannot be set up")]
    Versions(#[source] rustls::Error),
}

pub struct Tls {
    files: Files,
    watched: Watched<Arc<ServerConfig>>,
}

impl Tls {
    pub fn load(files: Files) -> Result<Self, TlsError> {
        let mut paths = vec![files.cert.clone(), files.key.clone()];
        paths.extend(files.client_ca.clone());
        let what = "the certificate of this service stays";
        Ok(Self {
            watched: Watched::load(what, paths, || read(&files))?,
            files,
        })
    }

    /// With the certificate that the files hold by now.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let config = self.watched.current(|_| read(&self.files));
        TlsAcceptor::from(Arc::clone(config.as_ref()))
            .accept(stream)
            .await
    }
}

fn read(files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(&files.key)?)
        .map_err(|source| malformed(&files.key, "private key", source))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(verifier(path, provider)?),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Unfit {
            cert: files.cert.display().to_string(),
            key: files.key.display().to_string(),
            source,
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    tracing::info!(cert = %files.cert.display(), "certificate loaded");
    Ok(Arc::new(config))
}

fn verifier(
    path: &Path,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let refused = |source: Box<dyn Error + Send + Sync>| TlsError::Authorities {
        path: path.display().to_string(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots
            .add(authority)
            .map_err(|error| refused(error.into()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| refused(error.into()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = bytes(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(malformed(path, "certificate", pem::Error::NoItemsFound)),
        Err(source) => Err(malformed(path, "certificate", source)),
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable {
        path: path.display().to_string(),
        source,
    })
}

fn malformed(path: &Path, what: &'static str, source: pem::Error) -> TlsError {
    TlsError::Malformed {
        path: path.display().to_string(),
        what,
        source,
    }
}
