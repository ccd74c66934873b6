import { isSecureUrl } from '../../../core/options/check.js'

it.each([
  ['https://login.microsoftonline.com/x/v2.0', true],
  ['http://127.0.0.1:8080/keys', true],
  ['http://127.8.9.1/', true],
  ['http://localhost/keys', true],
  ['http://[::1]:1/', true],
  ['http://login.microsoftonline.com/', false],
  ['http://127.0.0.1.example.com/', false],
  ['http://localhost.example.com/', false],
  ['https://user:password@example.com/', false],
  ['ftp://127.0.0.1/', false],
  ['file:///etc/passwd', false],
  ['data:,x', false],
  ['127.0.0.1', false],
  ['', false],
])('isSecureUrl(%j) is %s', (text, is) => {
  expect(isSecureUrl(text)).toBe(is)
})
