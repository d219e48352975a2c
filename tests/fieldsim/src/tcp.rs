//! Modbus TCP server: any number of connections, one request at a time on each.

use crate::bus::Bus;
use anyhow::Context as _;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Serves `bus` on `listener` until the process ends.
pub async fn serve(bus: Arc<Bus>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            // A client that goes away in mid-frame ends its own connection, nothing else.
            let _ended: anyhow::Result<()> = connection(&bus, stream).await;
        });
    }
}

async fn connection(bus: &Bus, mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        // MBAP header: transaction, protocol 0, length of what follows, unit.
        let mut header = [0u8; 7];
        stream.read_exact(&mut header).await?;
        let [
            transaction_high,
            transaction_low,
            _,
            _,
            length_high,
            length_low,
            unit,
        ] = header;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let mut pdu = vec![0u8; length.checked_sub(1).context("empty frame")?];
        stream.read_exact(&mut pdu).await?;
        if let Some(answer) = bus.answer(unit, &pdu)? {
            let length = u16::try_from(answer.len() + 1)?.to_be_bytes();
            let [length_high, length_low] = length;
            let mut frame = vec![
                transaction_high,
                transaction_low,
                0,
                0,
                length_high,
                length_low,
                unit,
            ];
            frame.extend_from_slice(&answer);
            stream.write_all(&frame).await?;
        }
    }
}
