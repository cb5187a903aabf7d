//! How much may wait, and what happened.

/// How much may wait here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeLimits {
    /// Most bytes of one stream that wait for another stream to come as far.
    pub max_stream_bytes: usize,
    /// Most bytes that wait, of all streams of the track together.
    pub max_bytes: usize,
}

impl Default for MergeLimits {
    /// 2 MiB a stream, 8 MiB in all: a quarter of what a log keeps by default.
    fn default() -> Self {
        Self {
            max_stream_bytes: 2 << 20,
            max_bytes: 8 << 20,
        }
    }
}

/// What happened since the stage was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeStats {
    /// Bytes that wait now, with a fixed cost for each chunk.
    pub waiting_bytes: usize,
    /// Objects of which one stream brought a copy while another one brought the subgroup, too. MOQT-14 §8.2 [D14-PUB-1].
    pub duplicate_objects: u64,
    /// Times that a stream ended without FIN, and another one went on with what it had begun.
    pub taken_over: u64,
    /// Times that a stream was not waited for any longer.
    pub overtaken: u64,
    /// Streams that were not taken in, because too many bring their subgroup at once.
    pub turned_away: u64,
    /// Objects that were not taken in, because the streams of their subgroup do not fit together.
    pub passed_objects: u64,
    /// Contradictions between publishers. MOQT-14 §2.5 [D14-MAL-2].
    pub disagreements: u64,
}
