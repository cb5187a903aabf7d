//! Which objects a subscription lets pass.
