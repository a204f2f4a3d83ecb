package handlers

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// maxZstdWindow bounds the memory that a frame may claim: 8 MiB is what RFC
// 8878 asks every decoder to support.
const maxZstdWindow = 8 << 20

var errOrderTooLarge = &bill.OrderError{Fields: []bill.FieldError{
	{Message: fmt.Sprintf("larger than %d bytes", bill.MaxOrderSize)},
}}

// decode undoes the content coding of an order, never producing more than one
// byte beyond what an order may have.
func decode(body []byte, encodings []string) ([]byte, error) {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(encodings, ",")))
	reader, closeReader, err := decoder(bytes.NewReader(body), coding)
	if err != nil {
		return nil, err
	}
	defer closeReader()
	decoded, err := io.ReadAll(io.LimitReader(reader, bill.MaxOrderSize+1))
	if err != nil {
		return nil, fmt.Errorf("decode order (%s): %w", coding, err)
	}
	if len(decoded) > bill.MaxOrderSize {
		return nil, errOrderTooLarge
	}
	return decoded, nil
}

// decoder takes one coding; several in a row are nothing that a server does
// to one answer.
func decoder(body io.Reader, coding string) (reader io.Reader, closeReader func(), err error) {
	none := func() {}
	switch coding {
	case "", "identity":
		return body, none, nil
	case "gzip", "x-gzip":
		zipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, nil, fmt.Errorf("decode order (gzip): %w", err)
		}
		return zipped, none, nil
	case "br":
		return brotli.NewReader(body), none, nil
	case "zstd":
		z, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("decode order (zstd): %w", err)
		}
		return z, z.Close, nil
	}
	return nil, nil, fmt.Errorf("the order's content coding %.40q is none of gzip, zstd, br", coding)
}
