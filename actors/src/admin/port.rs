//! The TCP port, which outlives those who serve on it.

use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// How long a peer may leave what it was sent without an acknowledgement, or without room for it.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(10);

/// Where the admin port is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port; port 0 is any free one.
    pub addr: SocketAddr,
    /// The relay is not to start without it.
    pub required: bool,
}

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("TCP port {} of the admin port cannot be had at {}: {source}; choose another admin.port, or \"off\"",
    addr.port(), addr.ip())]
pub struct PortError {
    /// What was asked for.
    pub addr: SocketAddr,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

/// A port that is taken. While this lives newcomers queue up there, whether or not anybody serves them.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    local: SocketAddr,
}

impl Port {
    /// Takes the port.
    ///
    /// # Errors
    /// Somebody else has it, or it is not to be had.
    pub fn bind(listen: Listen) -> Result<Self, PortError> {
        let failed = |source| PortError {
            addr: listen.addr,
            source,
        };
        let listener = TcpListener::bind(listen.addr).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        give_up_on_those_who_do_not_read(&listener).map_err(failed)?;
        Ok(Self { listener, local })
    }

    /// Where it is, with the port that was chosen when 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// For one life of the server.
    ///
    /// # Errors
    /// The system is out of file descriptors.
    pub fn listener(&self) -> io::Result<TcpListener> {
        self.listener.try_clone()
    }
}

/// The connections inherit it. tcp(7)
#[cfg(target_os = "linux")]
fn give_up_on_those_who_do_not_read(listener: &TcpListener) -> io::Result<()> {
    SockRef::from(listener).set_tcp_user_timeout(Some(UNREAD))
}

/// Elsewhere the number of connections is the only bound.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
const fn give_up_on_those_who_do_not_read(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_says_so_and_what_to_do() {
        let any = Listen {
            addr: ([127, 0, 0, 1], 0).into(),
            required: true,
        };
        let held = Port::bind(any).unwrap();
        let taken = Listen {
            addr: held.local_addr(),
            ..any
        };
        let error = Port::bind(taken).unwrap_err().to_string();
        let port = held.local_addr().port().to_string();
        assert!(error.contains(&port) && error.contains("admin.port"), "{error}");
        // A life that is over leaves the port to the next.
        drop(held.listener().unwrap());
        assert!(Port::bind(taken).is_err());
        drop(held);
        Port::bind(taken).unwrap();
    }
}
