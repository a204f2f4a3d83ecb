package caddyqlink

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/go-json-experiment/json"
	"go.uber.org/zap"

	"github.com/caddy-qlink/caddy-qlink/bill"
)

// eventPrefix begins the names of our events: qlink.bill.paid and so on.
const eventPrefix = "qlink."

// listeners are who has subscribed to the events of one configuration.
type listeners struct {
	ctx     caddy.Context
	app     *caddyevents.App
	started chan struct{} // closed once all of its apps have started
}

// provisionListeners finds Caddy's app of events. It takes subscriptions while
// it starts, and cannot be read meanwhile: so nothing is handed to it before
// Caddy itself has said, by an event, that all is up.
func provisionListeners(ctx caddy.Context) (*listeners, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	l := &listeners{ctx: ctx, app: app.(*caddyevents.App), started: make(chan struct{})}
	start := sync.OnceFunc(func() { close(l.started) })
	return l, l.app.On("started", upHandler(start))
}

// upHandler hears that a configuration is up.
type upHandler func()

// Handle calls it.
func (h upHandler) Handle(context.Context, caddy.Event) error {
	h()
	return nil
}

// emitWait bounds how long an event waits for a configuration that has begun to
// start and is not up.
const emitWait = 10 * time.Second

// emit hands an event on a bill of a store to the listeners of the newest
// configuration that uses the store and is up. That may be another one than the
// one whose request or worker changed the bill.
func (c *configurations) emit(key string, kind bill.NotificationType, b bill.Bill) {
	deadline := time.Now().Add(emitWait)
	for {
		v, ok := c.newest(func(v *vault) bool { return v.key == key && v.listeners.up() })
		if ok {
			v.listeners.emit(kind, b, v.logger)
			return
		}
		if _, starting := c.newest(func(v *vault) bool { return v.key == key }); !starting || time.Now().After(deadline) {
			return // whoever would listen has gone
		}
		<-time.After(emitWait / 100)
	}
}

// up reports whether listeners may be told.
func (l *listeners) up() bool {
	if l == nil {
		return false
	}
	select {
	case <-l.started:
		return true
	default:
		return false
	}
}

func (l *listeners) emit(kind bill.NotificationType, b bill.Bill, logger *zap.Logger) {
	name := eventPrefix + string(kind)
	if !l.app.ShouldEmit(name) {
		return
	}
	data, err := eventData(b.View(b.PayURL))
	if err != nil {
		logger.Error("event of a bill", zap.String("bill", b.ID), zap.Error(err))
		return
	}
	l.app.Emit(l.ctx, name, data)
}

// eventData is the public bill under the names that it has everywhere.
func eventData(b bill.View) (map[string]any, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	var data map[string]any
	err = json.Unmarshal(text, &data)
	return data, err
}

// Interface guard
var _ caddyevents.Handler = upHandler(nil)
