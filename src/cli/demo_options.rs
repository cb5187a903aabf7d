//! Options of `laps demo`.

use super::log_options::LogOptions;
use super::values::Seconds;
use crate::exit::Failure;
use structopt::StructOpt;

const AFTER_HELP: &str = "OUTPUT:
    On a terminal a table that is drawn anew in its place, elsewhere a line each second. NO_COLOR asks for no colours.
    It ends with 0 only when every viewer got every object once, and with 4 and what is missing otherwise.
EXAMPLES:
    laps demo                  until Ctrl-C
    laps demo --seconds 10     for so long";

/// Runs a mesh of three relays with a clock and viewers, and shows what arrives
///
/// The relays are two edges with a via between them, on ports of 127.0.0.1 that the system chooses, with certificates that
/// end with them. The publisher and a viewer are at one edge, two viewers at the other.
#[derive(Clone, Debug, StructOpt)]
#[structopt(after_help = AFTER_HELP)]
pub struct DemoOptions {
    /// End after so many seconds [default: at Ctrl-C]
    #[structopt(long = "seconds", value_name = "N")]
    pub seconds: Option<Seconds>,
    /// What is logged, on standard error; by default errors only.
    #[structopt(flatten)]
    pub log: LogOptions,
}

impl DemoOptions {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`], naming the option.
    pub fn check(&self) -> Result<(), Failure> {
        if self.seconds.is_some_and(|seconds| seconds.0.is_zero()) {
            return Err(Failure::usage(
                "--seconds",
                "nothing is shown in no time",
                "give at least 1",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::options;
    use std::time::Duration;

    #[test]
    fn the_time_is_read() {
        assert_eq!(options::<DemoOptions>(&[]).unwrap().seconds, None);
        let some: DemoOptions = options(&["--seconds", "2.5"]).unwrap();
        assert_eq!(some.seconds, Some(Seconds(Duration::from_millis(2500))));
        assert!(some.check().is_ok());
        let none = options::<DemoOptions>(&["--seconds", "0"]).unwrap();
        assert!(none.check().is_err());
    }
}
