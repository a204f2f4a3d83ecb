// Package qlink speaks the QLink payment gateway's protocol: it signs and verifies
// messages, calls the four operations of the gateway (QueryPayAccount, Apply,
// GetPayStatus, Cancel) and reads the payment notifications that the gateway posts.
//
// It never decides what a payment is worth or what becomes of a bill: it reports what
// the gateway said, and, when a call fails, what is certain about what the gateway did
// (Kind and Effect). It never repeats a call by itself, follows no redirect, and puts
// no secret, signature or address into an error. It keeps no state but idle connections.
//
// It knows nothing of Caddy and uses the standard library and a strict JSON decoder only,
// so that any Go program can use it. Within this module the payment engine calls the
// Client, the webhook handler calls Verify and ParseNotification, and the gateway
// simulator plays the other side with Sign and Verify.
//
// Section numbers in the comments are those of the "QLink Payment Integration Standard
// Document".
package qlink
