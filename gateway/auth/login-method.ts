/** How the clients of one endpoint prove who they are. */
import type { LoginRequest, Verdict } from './verifier.js'

/** The conversation in which a client proves who it is, up to the verdict. `AuthenticationOk` is not part of it. */
export interface LoginMethod {
  authenticate(request: LoginRequest, client: LoginClient): Verdict | Promise<Verdict>
}

/** A client in the middle of its login. */
export interface LoginClient {
  /** Sends a request of the server, and resolves with the body of the client's answer, a message of type `p`. */
  ask(request: Buffer): Promise<Buffer>
  /** Sends something that the client does not answer. */
  tell(message: Buffer): void
  /** What SCRAM can be bound to: `tls-server-end-point` of RFC 5929, the hash of the server's certificate. */
  channelBinding(): Buffer
  /** The client's certificate, where its TLS showed one. */
  certificate(): ClientCertificate | undefined
}

export interface ClientCertificate {
  /** The first common name of its subject. */
  readonly commonName: string | undefined
  /** OpenSSL's name of what is wrong with it, such as `CERT_HAS_EXPIRED`, or `undefined` for one to be trusted. */
  readonly fault: string | undefined
}
