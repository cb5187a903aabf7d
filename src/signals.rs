//! What the process does on signals: SIGINT and SIGTERM end it, a relay on SIGTERM only when its clients have left;
//! SIGUSR1 steps the log level, SIGUSR2 has a relay say how full its tables are.

use crate::exit::Failure;
use crate::logging::{LevelSwitch, Logging};
use slog::{Logger, info};
use std::fmt;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask the process to end.
#[derive(Debug)]
pub struct Shutdown {
    interrupt: Signal,
    terminate: Signal,
}

/// Which signal asked the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT, Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Takes over the signals of the process; from here on SIGINT and SIGTERM only wake [`Shutdown`]. Runs on the current
/// arbiter, which also gets a task that steps the log level at each SIGUSR1.
///
/// # Errors
/// When the system refuses a handler, or outside of an actix runtime.
pub fn install(logging: &Logging) -> Result<Shutdown, Failure> {
    let shutdown = Shutdown {
        interrupt: signal(SignalKind::interrupt()).map_err(refused)?,
        terminate: signal(SignalKind::terminate()).map_err(refused)?,
    };
    let usr1 = signal(SignalKind::user_defined1()).map_err(refused)?;
    // Runs for the life of the arbiter; nothing waits for it.
    drop(actix_rt::spawn(step_level(
        usr1,
        logging.level.clone(),
        logging.logger.clone(),
    )));
    Ok(shutdown)
}

/// Takes over SIGUSR2, which would otherwise end the process; what to do at each one is the caller's.
///
/// # Errors
/// When the system refuses a handler, or outside of an actix runtime.
pub fn census() -> Result<Signal, Failure> {
    signal(SignalKind::user_defined2()).map_err(refused)
}

fn refused(error: std::io::Error) -> Failure {
    Failure::run("signals", error.to_string(), "")
}

impl Shutdown {
    /// Waits for the next signal to end. May be called again: a second signal can mean "at once".
    pub async fn recv(&mut self) -> StopSignal {
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
        }
    }
}

async fn step_level(mut usr1: Signal, level: LevelSwitch, logger: Logger) {
    while usr1.recv().await.is_some() {
        let level = level.cycle();
        info!(logger, "log level changed by SIGUSR1"; "level" => level.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogLevel, sections};

    fn send(signal: &str) {
        let pid = std::process::id().to_string();
        assert!(
            std::process::Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    #[actix_rt::test]
    async fn signals_step_the_level_and_ask_for_the_end() {
        let logging = Logging::start(&sections::Logging {
            level: LogLevel::Error,
            ..Default::default()
        });
        let mut shutdown = install(&logging).unwrap();
        let mut seen = signal(SignalKind::user_defined1()).unwrap();
        send("-USR1");
        seen.recv().await;
        while logging.level.get() == LogLevel::Error {
            tokio::task::yield_now().await;
        }
        assert_eq!(logging.level.get(), LogLevel::Info);
        send("-TERM");
        assert_eq!(shutdown.recv().await, StopSignal::Terminate);
        send("-INT");
        assert_eq!(shutdown.recv().await, StopSignal::Interrupt);
    }
}
