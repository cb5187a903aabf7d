# Builds laps with clang and lld, and with no gcc anywhere in the builder. Built from the top of the tree:
#
#   scripts/image --file docker/debian.clang.Dockerfile
ARG RUST_VERSION=1.95
ARG DEBIAN=bookworm

# For its Rust alone: that image has a gcc.
FROM rust:${RUST_VERSION}-slim-${DEBIAN} AS rust

FROM debian:${DEBIAN}-slim AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates clang libavahi-client-dev libc6-dev libclang-dev lld llvm make \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo \
    CC=clang CXX=clang++ AR=llvm-ar RUSTFLAGS="-Clinker=clang -Clink-arg=-fuse-ld=lld" CARGO_PROFILE_RELEASE_STRIP=symbols
WORKDIR /build
COPY docker/no-gcc docker/no-gcc
RUN docker/no-gcc
COPY . .
ARG TARGETARCH
# jemalloc must know the largest page of any kernel that it meets: 64 KiB on arm64.
RUN --mount=type=cache,id=laps-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=laps-clang-${TARGETARCH},target=/build/target,sharing=locked \
    if [ "${TARGETARCH}" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && cargo build --release --locked --bin laps --features mdns-zeroconf \
    && install -D -m 755 target/release/laps /out/usr/local/bin/laps \
    && install -m 755 docker/laps-entrypoint docker/laps-keys /out/usr/local/bin/ \
    && docker/licences /out
RUN docker/no-gcc /out/usr/local/bin/laps

FROM debian:${DEBIAN}-slim AS relay
ARG LAPS_VERSION
LABEL org.opencontainers.image.title="laps" \
      org.opencontainers.image.description="Media over QUIC Transport relay, built with clang" \
      org.opencontainers.image.licenses="BSD-2-Clause" \
      org.opencontainers.image.version="${LAPS_VERSION}"
# What the program loads at its start.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libavahi-client3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/ /
USER 65532:65532
EXPOSE 33435/udp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/usr/local/bin/laps-entrypoint", "health"]
ENTRYPOINT ["/usr/local/bin/laps-entrypoint"]
CMD ["relay"]
