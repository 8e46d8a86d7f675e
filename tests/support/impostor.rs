//! What is no real server: silent, in another tongue, or refusing a number of sessions before it passes them on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A listener on a port of its own; its thread ends with the test process.
pub struct Impostor {
    pub port: u16,
    /// Start-up packets seen so far.
    pub sessions: Arc<AtomicUsize>,
}

impl Impostor {
    /// Accepts and never says a word; with `tls`, agrees to TLS first and is silent then.
    pub fn silent(tls: bool) -> Self {
        Self::serve(move |mut stream, _| {
            if tls {
                let mut request = [0; 8];
                stream.read_exact(&mut request)?;
                stream.write_all(b"S")?;
            }
            // Until the other side gives up.
            std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
        })
    }

    /// Closes at once, or answers in another protocol.
    pub fn answering(bytes: &'static [u8]) -> Self {
        Self::serve(move |mut stream, _| stream.write_all(bytes))
    }

    /// Refuses the first sessions with an error response, then passes on to the real port (or refuses for ever).
    pub fn refusing(times: usize, sqlstate: &str, message: &[u8], port: u16) -> Self {
        let mut fields = b"SFATAL\0VFATAL\0C".to_vec();
        fields.extend_from_slice(sqlstate.as_bytes());
        fields.extend_from_slice(b"\0M");
        fields.extend_from_slice(message);
        fields.extend_from_slice(b"\0\0");
        let length = u32::try_from(fields.len() + 4).unwrap();
        let response = [&b"E"[..], &length.to_be_bytes(), &fields].concat();
        Self::serve(move |mut stream, session| {
            if session >= times {
                return pass(&stream, &TcpStream::connect(("127.0.0.1", port))?);
            }
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut rest = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
            stream.read_exact(&mut rest)?;
            stream.write_all(&response)
        })
    }

    fn serve(answer: impl Fn(TcpStream, usize) -> std::io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sessions = Arc::new(AtomicUsize::new(0));
        let (counter, answer) = (Arc::clone(&sessions), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counter, answer) = (Arc::clone(&counter), Arc::clone(&answer));
                thread::spawn(move || answer(stream, counter.fetch_add(1, Ordering::SeqCst)));
            }
        });
        Self { port, sessions }
    }
}

fn pass(client: &TcpStream, server: &TcpStream) -> std::io::Result<()> {
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let copied = std::io::copy(&mut from, &mut to);
        let closed = to.shutdown(Shutdown::Write);
        (copied.is_ok(), closed.is_ok())
    });
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    std::io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}
