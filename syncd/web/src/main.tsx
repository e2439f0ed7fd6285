import { render } from 'preact'
import { followBlobs } from './net/attachments'
import { follow } from './net/list'
import { base } from './net/place'
import { resume } from './net/session'
import './style.css'
import { App } from './ui/app'
import './ui/theme'

follow()
resume()
followBlobs()
render(<App />, document.getElementById('app')!)

// The page itself opens with no network, where the browser allows it (localhost, and over TLS).
if ('serviceWorker' in navigator && import.meta.env.PROD) {
  addEventListener('load', () => void navigator.serviceWorker.register(new URL('sw.js', base)).catch(() => {}))
}
