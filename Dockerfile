# docker build -t hermes .
# docker run -p 8080:443 hermes
#
# The server runs as a user without rights and listens on 443 inside. That works as it is: Docker
# (20.10 and later) and Podman let every user of a container bind any port
# (net.ipv4.ip_unprivileged_port_start=0 in the container's own network). Where that is not so, as
# with --network host or in some Kubernetes clusters, take another port: -e WS_PORT=8080. A file
# capability on the program would be the other way, and is not taken because the kernel then refuses
# to start the program at all under --cap-drop ALL.

FROM debian:trixie-slim AS build
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install gcc libc6-dev make
WORKDIR /hermes
COPY third_party third_party
RUN third_party/install.sh build
COPY Makefile ./
COPY include include
COPY src src
RUN make -j"$(nproc)" \
    && make install PREFIX=/usr DESTDIR=/out \
    && strip /out/usr/bin/hermes

FROM debian:trixie-slim
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install \
        libuv1t64 libwslay1 libjansson4 libmbedtls21 libmbedx509-7 libmbedcrypto16 libhiredis1.1.0 liburing2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --no-create-home --shell /usr/sbin/nologin hermes
COPY --from=build /out/usr/bin/hermes /usr/bin/hermes
USER hermes
# auto: all addresses once WS_ADMIN_TOKEN is set, and only the container itself without.
ENV WS_PORT=443 WS_ADMIN_HOST=auto
EXPOSE 443 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=2s CMD ["hermes", "health"]
# No shell in between: the server is process 1 and gets the signals itself.
ENTRYPOINT ["hermes"]
CMD ["serve"]
