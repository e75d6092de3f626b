# One file, two images: docker build --target manager (or dataplane). hack/images.sh
# makes the same without an engine.
ARG GO_VERSION=1.26

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY dataplane dataplane
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" \
    -o /out/ ./cmd/manager ./cmd/dataplane

# Nothing but a binary: what it trusts is given to it, the API server's CA by its
# ServiceAccount.
FROM scratch AS base
ARG VERSION=dev
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.source=https://github.com/slipway-dev/slipway \
      org.opencontainers.image.licenses=Apache-2.0
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532

FROM base AS dataplane
LABEL org.opencontainers.image.title=slipway-dataplane
COPY --from=build /out/dataplane /dataplane
ENTRYPOINT ["/dataplane"]

FROM base AS manager
LABEL org.opencontainers.image.title=slipway-manager
COPY --from=build /out/manager /manager
ENTRYPOINT ["/manager"]
