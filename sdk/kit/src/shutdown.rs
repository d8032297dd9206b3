//! The signals that ask a process to stop. The caller decides how to stop.

use std::{fmt, io};

use tokio::signal::unix::{self, SignalKind};

/// A signal that asks the process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownSignal {
    /// SIGINT, as sent by Ctrl-C at a terminal.
    Interrupt,
    /// SIGTERM, as sent by a supervisor.
    Terminate,
}

impl fmt::Display for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// A listener for SIGINT and SIGTERM.
#[derive(Debug)]
pub struct ShutdownSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl ShutdownSignals {
    /// Replaces the default action of both signals, which is to end the process. Call it before
    /// anything that needs an orderly shutdown.
    ///
    /// # Errors
    /// Fails if a signal handler cannot be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. Call it again while draining: a second signal means to stop at
    /// once.
    pub async fn next(&mut self) -> ShutdownSignal {
        tokio::select! {
            _ = self.interrupt.recv() => ShutdownSignal::Interrupt,
            _ = self.terminate.recv() => ShutdownSignal::Terminate,
        }
    }
}
