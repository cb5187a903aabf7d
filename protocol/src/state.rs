//! Small state machines whose allowed moves stand in one table.
//!
//! [`transitions!`] writes the enum of states, the enum of moves and the one function that applies a move; whatever
//! the table does not name is an [`InvalidTransition`]. Tests print the table as DOT and compare it with a
//! drawing, so that a changed move shows up in review as a changed picture.

/// A move that the machine's table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{machine}: {by} is not allowed in state {from}")]
pub(crate) struct InvalidTransition {
    /// Name of the machine.
    pub(crate) machine: &'static str,
    /// State it is in.
    pub(crate) from: &'static str,
    /// The move that was tried.
    pub(crate) by: &'static str,
}

/// Defines a state machine: the first state listed is the one it starts in.
///
/// ```text
/// transitions! {
///     /// A door.
///     pub(crate) machine Door moved by Push;
///     states { Shut, Ajar, Gone }
///     moves {
///         Open: Shut => Ajar;
///         Remove: Shut => Gone, Ajar => Gone;
///     }
/// }
/// ```
macro_rules! transitions {
    (
        $(#[$meta:meta])*
        $vis:vis machine $name:ident moved by $by:ident;
        states {
            $(#[$first_meta:meta])* $first:ident
            $(, $(#[$state_meta:meta])* $state:ident)* $(,)?
        }
        moves {
            $($(#[$move_meta:meta])* $move:ident: $($from:ident => $to:ident),+;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $vis enum $name {
            $(#[$first_meta])*
            #[default]
            $first,
            $($(#[$state_meta])* $state,)*
        }

        #[doc = concat!("What moves a [`", stringify!($name), "`].")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $by {
            $($(#[$move_meta])* $move,)+
        }

        impl $name {
            /// The state after `by`; `self` stays as it is.
            $vis const fn after(self, by: $by) -> Result<Self, $crate::state::InvalidTransition> {
                match (by, self) {
                    $($(($by::$move, Self::$from) => Ok(Self::$to),)+)+
                    #[allow(unreachable_patterns, reason = "a table may name every pair")]
                    _ => Err($crate::state::InvalidTransition {
                        machine: stringify!($name),
                        from: self.name(),
                        by: by.name(),
                    }),
                }
            }

            /// Makes the move, or leaves the state as it is.
            $vis fn apply(&mut self, by: $by) -> Result<(), $crate::state::InvalidTransition> {
                *self = self.after(by)?;
                Ok(())
            }

            const fn name(self) -> &'static str {
                match self {
                    Self::$first => stringify!($first),
                    $(Self::$state => stringify!($state),)*
                }
            }

            /// The table as a DOT graph, for snapshot tests.
            #[cfg(test)]
            $vis fn dot() -> String {
                let mut dot = format!("digraph {} {{\n", stringify!($name));
                dot.push_str(&format!("  start -> {}\n", stringify!($first)));
                $($(dot.push_str(&format!(
                    "  {} -> {} [{}]\n",
                    stringify!($from), stringify!($to), stringify!($move)
                ));)+)+
                dot.push_str("}\n");
                dot
            }
        }

        impl $by {
            const fn name(self) -> &'static str {
                match self {
                    $(Self::$move => stringify!($move),)+
                }
            }
        }
    };
}

pub(crate) use transitions;

#[cfg(test)]
mod tests {
    transitions! {
        /// A door.
        machine Door moved by Push;
        states { Shut, Ajar, Gone }
        moves {
            Open: Shut => Ajar;
            Remove: Shut => Gone, Ajar => Gone;
        }
    }

    #[test]
    fn a_listed_move_changes_the_state() {
        let mut door = Door::default();
        assert_eq!(door, Door::Shut);
        door.apply(Push::Open).unwrap();
        door.apply(Push::Remove).unwrap();
        assert_eq!(door, Door::Gone);
    }

    #[test]
    fn an_unlisted_move_is_refused_and_changes_nothing() {
        let mut door = Door::Gone;
        let error = door.apply(Push::Open).unwrap_err();
        assert_eq!(error.to_string(), "Door: Open is not allowed in state Gone");
        assert_eq!(door, Door::Gone);
    }

    #[test]
    fn the_table_prints_as_dot() {
        assert_eq!(
            Door::dot(),
            "digraph Door {\n  start -> Shut\n  Shut -> Ajar [Open]\n  Shut -> Gone [Remove]\n  \
             Ajar -> Gone [Remove]\n}\n"
        );
    }
}
