//! How a server gets its address, and learns that it should stop.

use std::{future::Future, net::SocketAddr};

use tokio::net::TcpListener;

use super::exit::{Failure, Outcome};

/// Binds the address for the command `<program> serve`, or says what to do about a failure.
pub async fn bind(program: &str, address: SocketAddr) -> Outcome<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let port = address.port();
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "Port {port} is in use by another program. Stop that one, or choose another port: {program} serve --bind {}:0 takes a free one.",
                host(address)
            ),
            std::io::ErrorKind::PermissionDenied => {
                format!("Port {port} needs more rights than you have. Choose one above 1023 with --bind.")
            }
            std::io::ErrorKind::AddrNotAvailable => {
                format!("This machine has no address {}. Choose another with --bind.", address.ip())
            }
            _ => format!("{address} cannot be listened on: {error}. Choose another address with --bind."),
        };
        Failure::unavailable(advice)
    })
}

/// An address and port as `--bind` takes them.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address and a port, like 127.0.0.1:7717; port 0 takes a free one".to_owned())
}

/// The URL at which programs on this machine reach the address.
pub fn local_url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    format!("http://{address}")
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

/// Resolves when the process is asked to stop: Ctrl-C or, on Unix, SIGTERM. It listens from the call on.
#[cfg(unix)]
pub fn stop_signal() -> Outcome<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Failure::failed(format!("Signals cannot be listened for: {error}.")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves when the process is asked to stop by Ctrl-C. It listens from the call on.
#[cfg(windows)]
pub fn stop_signal() -> Outcome<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt =
        tokio::signal::windows::ctrl_c().map_err(|error| Failure::failed(format!("Signals cannot be listened for: {error}.")))?;
    Ok(async move {
        interrupt.recv().await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_this_machine_use_loopback() {
        assert_eq!(local_url("0.0.0.0:7717".parse().unwrap()), "http://127.0.0.1:7717");
        assert_eq!(local_url("[::]:7717".parse().unwrap()), "http://[::1]:7717");
        assert_eq!(local_url("192.168.1.2:80".parse().unwrap()), "http://192.168.1.2:80");
    }
}
