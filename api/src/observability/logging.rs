//! Logs on standard error, for people or as JSON lines.

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::config::{LogConfig, LogFormat};

/// A subscriber as configured, writing where the caller wants.
pub fn subscriber<W>(config: &LogConfig, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match config.format {
        LogFormat::Human => Box::new(builder.with_ansi(false).compact().finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_span_list(false).finish()),
    }
}

/// Installs the configured subscriber for the process; a second call changes nothing.
pub fn install(config: &LogConfig) {
    let _ = tracing::subscriber::set_global_default(subscriber(config, std::io::stderr));
}
