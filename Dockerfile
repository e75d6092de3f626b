# One file, all images: docker build --target manager (or dataplane, or e2e). hack/images.sh
# makes the same without an engine.
ARG GO_VERSION=1.26

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# What .dockerignore lets through, which is the one list of it.
COPY . .
ARG TARGETOS TARGETARCH VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" \
    -o /out/ ./cmd/manager ./cmd/dataplane

FROM build AS build-e2e
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" \
    -o /out/ ./test/e2e/cmd/e2e

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

# What the end-to-end suite runs in the cluster beside the two.
FROM base AS e2e
LABEL org.opencontainers.image.title=slipway-e2e
COPY --from=build-e2e /out/e2e /e2e
ENTRYPOINT ["/e2e"]
