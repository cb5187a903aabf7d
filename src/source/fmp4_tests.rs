use super::super::testing::{Slow, all};
use super::super::{Location, ReadSource};
use super::*;
use proptest::prelude::*;

fn bx(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
    [&size[..], kind, body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_be_bytes()).collect()
}

fn trak(id: u32, handler: &[u8; 4], version: u8) -> Vec<u8> {
    let times = if version == 1 { 4 } else { 2 };
    let tkhd = [
        words(&[u32::from(version) << 24]),
        words(&vec![9; times]),
        words(&[id, 0]),
    ]
    .concat();
    let hdlr = [&words(&[0, 0])[..], handler, &[0; 13]].concat();
    bx(
        b"trak",
        &[bx(b"tkhd", &tkhd), bx(b"mdia", &bx(b"hdlr", &hdlr))].concat(),
    )
}

/// Audio is track 1, video track 2; `flags` is the default of the video.
fn init(video: bool, version: u8, flags: u32) -> Vec<u8> {
    let mut moov = [bx(b"mvhd", &[0; 100]), trak(1, b"soun", version)].concat();
    if video {
        moov.extend(trak(2, b"vide", version));
    }
    let trex = [
        bx(b"trex", &words(&[0, 1, 1, 0, 0, 0])),
        bx(b"trex", &words(&[0, 2, 1, 0, 0, flags])),
    ];
    moov.extend(bx(b"mvex", &trex.concat()));
    [bx(b"ftyp", b"iso6    "), bx(b"moov", &moov)].concat()
}

const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

fn moof(traf: &[u8]) -> Vec<u8> {
    let audio = bx(
        b"traf",
        &[
            bx(b"tfhd", &words(&[0x0002_0000, 1])),
            bx(b"trun", &words(&[0, 1])),
        ]
        .concat(),
    );
    bx(
        b"moof",
        &[&bx(b"mfhd", &words(&[0, 1]))[..], &audio, &bx(b"traf", traf)].concat(),
    )
}

/// A fragment whose first video sample has these flags, by `first_sample_flags`.
fn fragment(flags: u32) -> Vec<u8> {
    let traf = [
        bx(b"tfhd", &words(&[0x0002_0000, 2])),
        bx(b"trun", &words(&[0x5, 3, 0, flags])),
    ]
    .concat();
    [moof(&traf), bx(b"mdat", b"media")].concat()
}

fn cut(file: &[u8]) -> Result<Vec<(Location, Vec<u8>)>, SourceError> {
    all(ReadSource::new(file, Fmp4::new(0)))
}

fn places(file: &[u8]) -> Vec<(u64, u64)> {
    cut(file)
        .unwrap()
        .iter()
        .map(|(l, _)| (l.group, l.object))
        .collect()
}

#[test]
fn init_is_group_0_and_groups_start_at_sync_samples() {
    let parts = [
        init(true, 0, NON_SYNC),
        fragment(SYNC),
        fragment(NON_SYNC),
        [bx(b"styp", b"msdh"), bx(b"sidx", &[1; 30]), fragment(SYNC)].concat(),
        fragment(SYNC),
        fragment(NON_SYNC),
        [bx(b"free", b""), bx(b"mfra", &[7; 9])].concat(),
    ];
    let got = cut(&parts.concat()).unwrap();
    let want = [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (3, 2)];
    assert_eq!(got.len(), want.len());
    for ((got, part), (group, object)) in got.iter().zip(&parts).zip(want) {
        assert_eq!(got, &(Location::new(group, object), part.clone()));
    }
}

#[test]
fn a_first_fragment_without_sync_sample_is_in_group_1() {
    let file = [init(true, 1, 0), fragment(NON_SYNC), fragment(SYNC)].concat();
    assert_eq!(places(&file), [(0, 0), (1, 0), (2, 0)]);
}

#[test]
fn without_video_every_fragment_is_a_group() {
    let file = [init(false, 1, NON_SYNC), fragment(NON_SYNC), fragment(NON_SYNC)].concat();
    assert_eq!(places(&file), [(0, 0), (1, 0), (2, 0)]);
}

#[test]
fn sample_flags_are_found_wherever_they_stand() {
    let tfhd = |given: u32, fields: &[u32]| bx(b"tfhd", &words(&[&[given, 2], fields].concat()));
    let trun = |given: u32, fields: &[u32]| bx(b"trun", &words(&[&[given, 2], fields].concat()));
    for (default, tfhd, trun, sync) in [
        (SYNC, tfhd(0, &[]), trun(0, &[]), true),
        (NON_SYNC, tfhd(0, &[]), trun(0, &[]), false),
        // Of the fragment: behind base data offset, description, duration and size.
        (
            SYNC,
            tfhd(0x3b, &[8, 8, 1, 5, 6, NON_SYNC]),
            trun(0x1, &[0]),
            false,
        ),
        (NON_SYNC, tfhd(0x20, &[SYNC]), trun(0, &[]), true),
        // Of each sample: behind data offset, duration and size.
        (
            SYNC,
            tfhd(0x20, &[SYNC]),
            trun(0x701, &[0, 1, 2, NON_SYNC, 1, 2, SYNC]),
            false,
        ),
        (NON_SYNC, tfhd(0, &[]), trun(0x400, &[SYNC, NON_SYNC]), true),
        // Of the first sample: goes over the others.
        (SYNC, tfhd(0, &[]), trun(0x4, &[NON_SYNC]), false),
        (NON_SYNC, tfhd(0, &[]), trun(0x5, &[0, SYNC]), true),
        // Cut short: no sync sample to be seen.
        (SYNC, tfhd(0, &[]), trun(0x5, &[0]), false),
    ] {
        let traf = [tfhd, trun].concat();
        let tail = [moof(&traf), bx(b"mdat", b"x")].concat();
        let file = [init(true, 0, default), fragment(SYNC), tail].concat();
        let want = if sync { (2, 0) } else { (1, 1) };
        assert_eq!(
            places(&file).last(),
            Some(&want),
            "default {default:x}, traf {traf:x?}"
        );
    }
}

#[test]
fn large_and_open_boxes_are_read() {
    let mut large = words(&[1]);
    large.extend_from_slice(b"mdat");
    large.extend_from_slice(&20_u64.to_be_bytes());
    large.extend_from_slice(b"data");
    let video = [
        bx(b"tfhd", &words(&[0, 2])),
        bx(b"trun", &words(&[0x4, 1, NON_SYNC])),
    ]
    .concat();
    let open = [&[0, 0, 0, 0], &b"mdat"[..], b"to the end"].concat();
    let file = [
        init(true, 0, 0),
        moof(&video),
        large,
        fragment(SYNC),
        moof(&video),
        open,
    ]
    .concat();
    let got = cut(&file).unwrap();
    assert_eq!(
        got.iter().map(|(l, _)| (l.group, l.object)).collect::<Vec<_>>(),
        [(0, 0), (1, 0), (2, 0), (2, 1)]
    );
    assert_eq!(got.into_iter().flat_map(|(_, p)| p).collect::<Vec<_>>(), file);
}

#[test]
fn what_is_no_fragmented_mp4_is_refused() {
    let plain = [
        bx(b"ftyp", b"isom"),
        bx(b"moov", &bx(b"mvhd", &[0; 100])),
        bx(b"mdat", b"x"),
    ]
    .concat();
    let late = [bx(b"ftyp", b"isom"), bx(b"mdat", b"x"), bx(b"moov", b"")].concat();
    let cut_off = [init(true, 0, 0), fragment(SYNC)[..30].to_vec()].concat();
    for (file, reason) in [
        (&b"just some text, no boxes"[..], "first box"),
        (&b""[..], "without a moov"),
        (&plain, "mvex"),
        (&late, "before the moov"),
        (&cut_off, "ends within"),
        (&[0, 0, 0, 7, b'f', b't', b'y', b'p'], "smaller than its own head"),
    ] {
        let error = cut(file).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_huge_declared_box_is_refused_before_anything_is_kept_for_it() {
    let huge = [&[0, 0, 0, 1], &b"mdat"[..], &(u64::MAX - 5).to_be_bytes()].concat();
    let big = [&0xffff_ffff_u32.to_be_bytes(), &b"mdat"[..]].concat();
    for head in [huge, big] {
        let mut cutter = Fmp4::new(0);
        let file = [init(true, 0, 0), head].concat();
        let error = cutter.push(&file, &mut VecDeque::new()).unwrap_err();
        assert!(matches!(error, SourceError::TooLong { .. }), "{error}");
        assert!(cutter.pending.capacity() < 1 << 16);
    }
}

#[test]
fn an_open_box_is_bounded_too() {
    let mut cutter = Fmp4::new(0);
    let mut out = VecDeque::new();
    cutter
        .push(
            &[init(true, 0, 0), words(&[0]), b"mdat".to_vec()].concat(),
            &mut out,
        )
        .unwrap();
    let chunk = vec![0; 1 << 20];
    let error = (0..65).find_map(|_| cutter.push(&chunk, &mut out).err()).unwrap();
    assert!(matches!(error, SourceError::TooLong { .. }), "{error}");
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(fragment(SYNC)),
        Just(fragment(NON_SYNC)),
        Just(bx(b"styp", b"msdh")),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| bx(b"free", &body)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| bx(b"mdat", &body)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|body| bx(b"moof", &body)),
    ];
    (any::<bool>(), prop::collection::vec(part, 0..12))
        .prop_map(|(video, parts)| [init(video, 0, NON_SYNC), parts.concat()].concat())
}

proptest! {
    #[test]
    fn payloads_in_order_are_the_file_however_it_arrives(file in any_file(), step in 1..90_usize) {
        let whole = cut(&file).unwrap();
        let pieces = all(ReadSource::new(Slow(&file, step), Fmp4::new(0))).unwrap();
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(whole.into_iter().flat_map(|(_, p)| p).collect::<Vec<_>>(), file);
    }

    #[test]
    fn no_bytes_panic(junk: Vec<u8>, at in 0..600_usize) {
        drop(cut(&junk));
        let mut file = [init(true, 0, 0), fragment(SYNC), fragment(NON_SYNC)].concat();
        let at = at.min(file.len());
        file.splice(at..(at + junk.len()).min(file.len()), junk);
        drop(cut(&file));
    }
}
