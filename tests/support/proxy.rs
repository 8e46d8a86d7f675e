//! A bad network: a TCP port in front of a server that delays, stalls or cuts what passes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bytes that are moved at once; a cut takes place at its exact byte whatever this is.
const CHUNK: usize = 16 * 1024;

/// Where the proxy leads.
#[derive(Debug, Clone)]
pub enum Target {
    /// A socket file, for example `socket_dir/.s.PGSQL.5432`.
    Unix(PathBuf),
    /// An address.
    Tcp(SocketAddr),
}

/// The two ways of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What happens to the bytes of one way.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    delay: Duration,
    /// How many more bytes pass, over all connections, before both ends are closed.
    passes: Option<u64>,
    stalled: bool,
}

#[derive(Debug, Default)]
struct State {
    to_server: Weather,
    to_client: Weather,
    /// Counted from the start, for tests that cut at every possible byte.
    sent_to_server: u64,
    sent_to_client: u64,
    accepted: u64,
    refusing: bool,
    closed: bool,
    /// Ends every open connection when it changes.
    generation: u64,
    /// Both ends of the open connections by their number, to be shut down from outside.
    open: Vec<(u64, Stream)>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A running proxy. Dropping it cuts its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free port of this machine.
    pub fn start(target: Target) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &target, &shared)
        });
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `database` through the proxy, without TLS.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@{}/{database}?sslmode=disable", self.address)
    }

    /// Holds back every chunk of one way for this long.
    pub fn delay(&self, way: Way, delay: Duration) {
        self.change(|state| state.weather(way).delay = delay);
    }

    /// Lets `bytes` more pass in one way, then closes both ends. The next connections pass freely.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.change(|state| state.weather(way).passes = Some(bytes));
    }

    /// Lets nothing pass in one way, without closing anything, until [`Proxy::resume`].
    pub fn stall(&self, way: Way) {
        self.change(|state| state.weather(way).stalled = true);
    }

    /// Ends all delays, stalls and cuts that are to come.
    pub fn resume(&self) {
        self.change(|state| {
            state.to_server = Weather::default();
            state.to_client = Weather::default();
            state.refusing = false;
        });
    }

    /// Closes new connections at once.
    pub fn refuse(&self) {
        self.change(|state| state.refusing = true);
    }

    /// Closes all open connections now.
    pub fn cut(&self) {
        self.change(State::cut);
    }

    /// Bytes that have passed in one way since the start.
    pub fn passed(&self, way: Way) -> u64 {
        let state = self.shared.lock();
        match way {
            Way::ToServer => state.sent_to_server,
            Way::ToClient => state.sent_to_client,
        }
    }

    /// Connections that were accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }

    /// Waits until at least `bytes` have passed in one way since the start.
    pub fn await_passed(&self, way: Way, bytes: u64) {
        let mut state = self.shared.lock();
        while match way {
            Way::ToServer => state.sent_to_server,
            Way::ToClient => state.sent_to_client,
        } < bytes
        {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn change(&self, edit: impl FnOnce(&mut State)) {
        edit(&mut self.shared.lock());
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|state| {
            state.closed = true;
            state.cut();
        });
        // Wakes the acceptor, which then sees that it is closed.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn weather(&mut self, way: Way) -> &mut Weather {
        match way {
            Way::ToServer => &mut self.to_server,
            Way::ToClient => &mut self.to_client,
        }
    }

    fn cut(&mut self) {
        self.generation += 1;
        for (_, stream) in self.open.drain(..) {
            stream.close();
        }
    }
}

fn accept(listener: &TcpListener, target: &Target, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let mut state = shared.lock();
        if state.closed {
            return;
        }
        state.accepted += 1;
        let (refusing, generation, number) = (state.refusing, state.generation, state.accepted);
        drop(state);
        shared.changed.notify_all();
        let (Ok(client), false) = (client, refusing) else {
            continue;
        };
        // A server that is not there looks to the client like a connection that is closed at once.
        let Ok(server) = target.connect() else { continue };
        let client = Stream::Tcp(client);
        let copies = || Some([client.copy().ok()?, server.copy().ok()?, client.copy().ok()?, server.copy().ok()?]);
        let Some([client_in, server_out, client_kept, server_kept]) = copies() else {
            continue;
        };
        shared.lock().open.extend([(number, client_kept), (number, server_kept)]);
        let ways = [(client_in, server_out, Way::ToServer), (server, client, Way::ToClient)];
        for (from, to, way) in ways {
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                pump(from.copy(), to.copy(), way, generation, &shared);
                // Half of a connection is of no use to this protocol.
                from.close();
                to.close();
                shared.lock().open.retain(|(other, _)| *other != number);
            });
        }
    }
}

fn pump(from: io::Result<Stream>, to: io::Result<Stream>, way: Way, generation: u64, shared: &Shared) {
    let (Ok(mut from), Ok(mut to)) = (from, to) else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut state = shared.lock();
        while state.weather(way).stalled && state.generation == generation {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.generation != generation {
            return;
        }
        let weather = state.weather(way);
        let delay = weather.delay;
        let passes = weather.passes.map_or(count, |left| count.min(usize::try_from(left).unwrap_or(count)));
        let is_last = weather.passes.is_some_and(|left| left <= count as u64);
        weather.passes = if is_last { None } else { weather.passes.map(|left| left - passes as u64) };
        drop(state);
        thread::sleep(delay);
        // Counted before they are written: nobody can have received what is not counted yet.
        let mut state = shared.lock();
        match way {
            Way::ToServer => state.sent_to_server += passes as u64,
            Way::ToClient => state.sent_to_client += passes as u64,
        }
        drop(state);
        shared.changed.notify_all();
        if to.write_all(&buffer[..passes]).is_err() {
            return;
        }
        if is_last {
            return;
        }
    }
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Target {
    fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Self::Tcp(address) => TcpStream::connect(address).map(Stream::Tcp),
        }
    }
}

impl Stream {
    fn copy(&self) -> io::Result<Self> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
        }
    }

    fn close(&self) {
        // It may be closed already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
        }
    }
}
