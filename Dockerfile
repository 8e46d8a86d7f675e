# syntax=docker/dockerfile:1
# healer's image: the binary, libc, the trusted authorities, and nothing else; without the sandbox.
#   docker build -t healer --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
ARG RUST_VERSION=1.95
FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
COPY . .
# The bundle of authorities and glibc are the build image's own: rebuild the image to renew them.
RUN cargo build --release --locked --no-default-features \
    && scripts/rootfs target/release/healer /rootfs

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="healer" \
      org.opencontainers.image.description="Keeps a Postgres-backed content-posting system healthy: one pass, then exit" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs/ /
USER 65532:65532
# One pass, then exit: there is nothing to probe.
HEALTHCHECK NONE
ENTRYPOINT ["/usr/bin/healer"]
CMD ["--help"]
