//! A door from this machine to a port on a host: what a browser here needs to see the dashboard there.

use std::net::SocketAddr;
use tests_harness::http;
use tests_net::Host;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;

/// Opens a door on loopback and gives its address; it stays open as long as the runtime lives.
///
/// # Errors
/// Where the system gives no port.
pub async fn open(host: Host, inside: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            let host = host.clone();
            tokio::spawn(async move {
                // Whoever comes while nobody is there inside is turned away.
                let mut inner = http::connect(Some(&host), inside).await?;
                copy_bidirectional(&mut outer, &mut inner).await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}
