//! TLS with rustls, with libpq's levels of verification.
//!
//! `prefer` and `require` without a root certificate accept every certificate, so they protect against listeners only;
//! the signatures of the handshake are checked at every level. A root bundle may also hold the server's own
//! self-signed certificate, as many self-managed servers have it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{ConnectSettings, RootCert, SslMode, TlsVersions};

/// Largest PEM file that is read. The bundle of all public authorities has 0.2 MiB.
const MAX_PEM: u64 = 4 * 1024 * 1024;

/// Why TLS could not be prepared or agreed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("{} cannot be read: {reason}", .path.display())]
    Unreadable {
        /// The file of `sslrootcert`, `sslcert` or `sslkey`.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// A PEM file holds nothing of the kind.
    #[error("{} holds no {what} in PEM form", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// The operating system has no trusted roots.
    #[error("the operating system's store of trusted certificates is empty or missing")]
    NoSystemRoots,
    /// Certificate and key do not belong together, or are of an unknown kind.
    #[error("the client certificate cannot be used: {reason}")]
    ClientCertificate {
        /// What rustls says.
        reason: String,
    },
    /// The server has no TLS, and plain text was not allowed.
    #[error("the server does not speak TLS")]
    Refused,
    /// The chain does not lead to a trusted root.
    #[error("the server's certificate is not signed by a trusted authority")]
    Untrusted,
    /// The certificate is for other names.
    #[error("the server's certificate is not for this host name")]
    WrongName,
    /// The certificate is out of date, or this machine's clock is wrong.
    #[error("the server's certificate is {}", if *.early { "not valid yet" } else { "expired" })]
    OutOfDate {
        /// Not valid yet, instead of expired.
        early: bool,
    },
    /// rustls cannot read the certificate, for instance because it is of X.509 version 1.
    #[error("the server's certificate cannot be read: {reason}")]
    BadCertificate {
        /// What rustls says.
        reason: String,
    },
    /// The server ended the handshake, or no common protocol was found.
    #[error("the TLS handshake failed: {reason}")]
    Handshake {
        /// What rustls says.
        reason: String,
    },
}

impl TlsError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } => "check the path (sslrootcert, sslcert, sslkey) and its permissions",
            Self::Missing { what: "certificate", .. } => {
                "the file must hold -----BEGIN CERTIFICATE-----; convert DER with: openssl x509 -inform der -in FILE -out FILE.pem"
            }
            Self::Missing { .. } => "the file must hold an unencrypted -----BEGIN PRIVATE KEY-----",
            Self::NoSystemRoots => "install ca-certificates, or name the CA's file: sslrootcert=/path/ca.pem",
            Self::ClientCertificate { .. } => "check that sslcert and sslkey belong together",
            Self::Refused => {
                "switch TLS on at the server, or say sslmode=prefer or sslmode=disable where the network is trusted"
            }
            Self::Untrusted => {
                "name the CA that signed it: sslrootcert=/path/ca.pem (Supabase, also its pooler: download the \
                 certificate from the project's database settings); sslmode=require encrypts without verifying"
            }
            Self::WrongName => {
                "connect by a name that is in the certificate's subjectAltName, or say sslmode=verify-ca to check the \
                 authority only"
            }
            Self::OutOfDate { .. } => "renew the server's certificate, and check this machine's clock",
            Self::BadCertificate { .. } => "issue the server a certificate of X.509 version 3 with a subjectAltName",
            Self::Handshake { .. } => {
                "the server must offer TLS 1.2 or 1.3 with an ECDHE cipher; it may also want a client certificate \
                 (sslcert, sslkey)"
            }
        }
        .to_owned()
    }

    /// 78: TLS fails by configuration, here or at the server.
    pub fn exit_code(&self) -> u8 {
        78
    }

    /// Translates what rustls reports during a handshake.
    pub(super) fn of_handshake(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        match error {
            E::InvalidCertificate(error) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::OutOfDate { early: false },
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::OutOfDate { early: true }
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                // Two authorities of one name: the signature of the wrong one does not fit.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Untrusted,
                // webpki's word for a self-signed certificate: a root in the place of a server.
                CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Self::Untrusted,
                other => Self::BadCertificate { reason: one_line(&other.to_string()) },
            },
            other => Self::Handshake { reason: one_line(&other.to_string()) },
        }
    }
}

/// rustls repeats what the server sent; keep it on one line and short.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// Builds the connector that the settings ask for. Reads the files they name, so it can fail before anything is dialled.
pub fn connector(settings: &ConnectSettings) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.tls.versions {
        TlsVersions::Only13 => &[&rustls::version::TLS13],
        TlsVersions::Only12 => &[&rustls::version::TLS12],
        TlsVersions::Both => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let trust = match (settings.ssl_mode, &settings.ssl_root_cert) {
        // The next step after a failed verification would be plain text, which is worse than an unverified peer.
        (SslMode::Disable | SslMode::Prefer, _) | (_, None) => None,
        (_, Some(root)) => Some(Trust::load(root)?),
    };
    let verifier = Verifier { provider: Arc::clone(&provider), trust, name: settings.ssl_mode == SslMode::VerifyFull };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| TlsError::Handshake { reason: error.to_string() })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.tls.client_cert {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates(&client.certificate)?;
            let key = PrivateKeyDer::from_pem_slice(&read(&client.key)?)
                .map_err(|_| TlsError::Missing { path: client.key.clone(), what: "private key" })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| TlsError::ClientCertificate { reason: one_line(&error.to_string()) })?
        }
    };
    config.enable_sni = settings.tls.sni;
    if settings.tls.direct {
        // The server closes a direct connection that does not name its protocol.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_PEM).read_to_end(&mut bytes))
        .map_err(|error| TlsError::Unreadable { path: path.to_owned(), reason: error.kind().to_string() })?;
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
    if found.is_empty() {
        return Err(TlsError::Missing { path: path.to_owned(), what: "certificate" });
    }
    Ok(found)
}

/// Trusted roots, and the certificates themselves for servers that present one of them.
#[derive(Debug)]
struct Trust {
    roots: RootCertStore,
    exact: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn load(root: &RootCert) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match root {
            RootCert::System => {
                // Single unreadable files of the store are no reason to distrust the rest.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(TlsError::NoSystemRoots);
                }
                Ok(Self { roots, exact: Vec::new() })
            }
            RootCert::Path(path) => {
                let exact = certificates(path)?;
                roots.add_parsable_certificates(exact.iter().cloned());
                if roots.is_empty() {
                    return Err(TlsError::Missing { path: path.clone(), what: "certificate" });
                }
                Ok(Self { roots, exact })
            }
        }
    }
}

/// Checks as much as the mode asks for, and always that the server owns the key of its certificate.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    trust: Option<Trust>,
    name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let chain =
            verify_server_cert_signed_by_trust_anchor(&certificate, &trust.roots, intermediates, now, algorithms);
        if let Err(error) = chain {
            // Validity is checked before everything else, so these two mean that the dates are fine.
            let only_self_signed = matches!(
                &error,
                rustls::Error::InvalidCertificate(CertificateError::Other(_) | CertificateError::UnknownIssuer)
            );
            if !(only_self_signed && trust.exact.iter().any(|trusted| trusted.as_ref() == end_entity.as_ref())) {
                return Err(error);
            }
        }
        if self.name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
