//! Encryption of the connections, by the URL's `sslmode` as in libpq (<https://www.postgresql.org/docs/current/libpq-ssl.html>):
//! `prefer` and `require` encrypt and trust any peer, `verify-ca` requires a certificate of a known authority, `verify-full` one for
//! this host.

use std::{borrow::Cow, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::CannotConnect;

/// The TLS connector for this address.
pub fn connector(options: &PgConnectOptions) -> Result<MakeRustlsConnect, CannotConnect> {
    Ok(MakeRustlsConnect::new(client_config(options)?))
}

fn client_config(options: &PgConnectOptions) -> Result<ClientConfig, CannotConnect> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("this program's encryption", &error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match options.get_ssl_mode() {
        PgSslMode::VerifyFull => signed(options, provider)?,
        PgSslMode::VerifyCa => Arc::new(Lenient {
            known: Some(signed(options, Arc::clone(&provider))?),
            provider,
        }),
        PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require => {
            Arc::new(Lenient { provider, known: None })
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (named(options, "sslcert"), named(options, "sslkey")) {
        (Some(certificates), Some(key)) => {
            let name = "`sslcert` and `sslkey`";
            let key = PrivateKeyDer::from_pem_slice(&pem(&key, "`sslkey`")?).map_err(|error| unusable("`sslkey`", &error))?;
            builder
                .with_client_auth_cert(parsed(&certificates, "`sslcert`")?, key)
                .map_err(|error| unusable(name, &error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(CannotConnect::Certificates(
            "`sslcert` and `sslkey` belong together; give both or none.".into(),
        )),
    }
}

/// Requires a certificate for this host by a known authority.
fn signed(options: &PgConnectOptions, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, CannotConnect> {
    let authorities = authorities(named(options, "sslrootcert").as_deref())?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), provider)
        .build()
        .map_err(|error| unusable("the certificates of the authorities", &error))
}

fn authorities(root: Option<&str>) -> Result<RootCertStore, CannotConnect> {
    let mut store = RootCertStore::empty();
    match root {
        Some(root) => {
            for certificate in parsed(root, "`sslrootcert`")? {
                store.add(certificate).map_err(|error| unusable("`sslrootcert`", &error))?;
            }
        }
        // Unreadable certificates of the machine are skipped, as is usual; without any, all connections are refused.
        None => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    match store.is_empty() {
        true => Err(CannotConnect::Certificates(
            "no certificate of an authority is known; name a file of them with `sslrootcert`.".into(),
        )),
        false => Ok(store),
    }
}

/// A file, or the PEM text itself, named in the URL. The options reveal it only as part of a URL, where a file is written `file: …`.
fn named(options: &PgConnectOptions, parameter: &str) -> Option<String> {
    let url = options.to_url_lossy();
    let found = url.query_pairs().find(|(name, _)| name == parameter);
    found.map(|(_, value)| value.strip_prefix("file: ").unwrap_or(&value).to_owned())
}

fn pem<'a>(named: &'a str, parameter: &str) -> Result<Cow<'a, [u8]>, CannotConnect> {
    match named.trim_start().starts_with("-----BEGIN ") {
        true => Ok(named.as_bytes().into()),
        false => std::fs::read(named)
            .map(Cow::from)
            .map_err(|error| unusable(parameter, &error.kind())),
    }
}

fn parsed(named: &str, parameter: &str) -> Result<Vec<CertificateDer<'static>>, CannotConnect> {
    CertificateDer::pem_slice_iter(&pem(named, parameter)?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(parameter, &error))
}

fn unusable(what: &str, error: &dyn std::fmt::Display) -> CannotConnect {
    CannotConnect::Certificates(format!("{what} cannot be used ({error})."))
}

/// Accepts more certificates than `verify-full` does, but still requires the peer to hold its certificate's key.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// The authorities, one of which must have signed, for any host; without them every certificate is accepted.
    known: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(known) = &self.known else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is checked last, after everything else.
        match known.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
