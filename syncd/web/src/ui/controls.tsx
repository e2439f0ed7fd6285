// Small things that every view is made of: icon buttons, menus, dialogs.
import type { ComponentChildren, JSX, TargetedKeyboardEvent } from 'preact'
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Icon, type IconName } from './icons'

interface IconButtonProps { icon: IconName; label: string; onClick: (event: MouseEvent) => void; disabled?: boolean; pressed?: boolean; class?: string; shortcut?: string; size?: number }

export const IconButton = ({ icon, label, onClick, disabled, pressed, class: name = '', shortcut, size }: IconButtonProps): JSX.Element => (
  <button
    type="button" class={`icon-button ${name}`} aria-label={label} title={shortcut ? `${label} (${shortcut})` : label}
    disabled={disabled} aria-pressed={pressed} aria-keyshortcuts={shortcut} onClick={onClick}
  >
    <Icon name={icon} {...(size ? { size } : {})} />
  </button>
)

export interface MenuItem { label: string; act: () => void; isDangerous?: boolean; isDisabled?: boolean; hint?: string }

/** A button that opens a menu: arrows move in it, Escape closes it. */
export const Menu = ({ label, icon = 'more', items, class: name = '' }: { label: string; icon?: IconName; items: () => readonly (MenuItem | null)[]; class?: string }): JSX.Element => {
  const id = useId()
  const button = useRef<HTMLButtonElement>(null)
  const menu = useRef<HTMLDivElement>(null)
  const [isOpen, setOpen] = useState(false)
  useEffect(() => {
    const [at, box] = [button.current, menu.current]
    if (!isOpen || !at || !box) return
    box.showPopover()
    const { top, bottom, right } = at.getBoundingClientRect()
    const { offsetWidth: width, offsetHeight: height } = box
    box.style.left = `${Math.max(8, Math.min(right - width, innerWidth - width - 8))}px`
    box.style.top = `${bottom + height + 8 > innerHeight ? Math.max(8, top - height - 4) : bottom + 4}px`
    box.querySelector<HTMLElement>('[role=menuitem]:not(:disabled)')?.focus()
    const toggled = (event: Event): void => { if ((event as ToggleEvent).newState === 'closed') setOpen(false) }
    box.addEventListener('toggle', toggled)
    return () => box.removeEventListener('toggle', toggled)
  }, [isOpen])
  const close = (): void => {
    menu.current?.hidePopover()
    setOpen(false)
    button.current?.focus()
  }
  const move = (event: TargetedKeyboardEvent<HTMLDivElement>): void => {
    const items = [...event.currentTarget.querySelectorAll<HTMLElement>('[role=menuitem]:not(:disabled)')]
    const place = items.indexOf(document.activeElement as HTMLElement)
    const to = { ArrowDown: place + 1, ArrowUp: place - 1 + items.length, Home: 0, End: items.length - 1 }[event.key]
    if (event.key === 'Tab') setOpen(false)
    if (event.key === 'Escape') { event.stopPropagation(); close() }
    if (to === undefined) return
    event.preventDefault()
    items[to % items.length]?.focus()
  }
  return (
    <>
      <button ref={button} type="button" class={`icon-button ${name}`} aria-label={label} title={label} aria-haspopup="menu" aria-expanded={isOpen} aria-controls={isOpen ? id : undefined} onClick={() => setOpen(!isOpen)}>
        <Icon name={icon} />
      </button>
      {isOpen && (
        <div ref={menu} id={id} class="menu" role="menu" aria-label={label} popover="auto" onKeyDown={move}>
          {items().map((item) => item === null ? <hr role="separator" /> : (
            <button key={item.label} type="button" role="menuitem" tabIndex={-1} class={item.isDangerous ? 'is-dangerous' : ''} disabled={item.isDisabled} onClick={() => { close(); item.act() }}>
              <span>{item.label}</span>{item.hint && <kbd>{item.hint}</kbd>}
            </button>
          ))}
        </div>
      )}
    </>
  )
}

/** A modal dialog; Escape and a click beside it close it. */
export const Dialog = ({ title, onClose, children, isWide = false }: { title: string; onClose: () => void; children: ComponentChildren; isWide?: boolean }): JSX.Element => {
  const id = useId()
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null
    dialog.current?.showModal()
    return () => before?.focus?.()
  }, [])
  return (
    <dialog ref={dialog} class={isWide ? 'is-wide' : ''} aria-labelledby={id} onClose={onClose} onClick={(event) => { if (event.target === dialog.current) dialog.current?.close() }}>
      <div class="dialog-body">
        <header><h2 id={id}>{title}</h2><IconButton icon="close" label="Close" onClick={() => dialog.current?.close()} /></header>
        {children}
      </div>
    </dialog>
  )
}

interface TitleFormProps { label: string; before: string; class?: string; onSave: (title: string) => void; onDone: () => void }

/** A field in the place of a title: Enter and leaving it save, Escape does not. */
export const TitleForm = ({ label, before, class: name, onSave, onDone }: TitleFormProps): JSX.Element => {
  const field = useRef<HTMLInputElement>(null)
  useLayoutEffect(() => field.current?.select(), [])
  const isDone = useRef(false)
  const save = (): void => {
    // Enter saves, and then the field is left.
    if (isDone.current) return
    isDone.current = true
    const title = field.current?.value.trim() ?? before
    if (title !== before) onSave(title)
    onDone()
  }
  const leave = (event: TargetedKeyboardEvent<HTMLInputElement>): void => {
    if (event.key !== 'Escape') return
    event.stopPropagation()
    isDone.current = true
    onDone()
  }
  return (
    <form class={name} onSubmit={(event) => { event.preventDefault(); save() }}>
      <input ref={field} aria-label={label} defaultValue={before} maxLength={500} onBlur={save} onKeyDown={leave} />
    </form>
  )
}

const now = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' })
const year = new Intl.DateTimeFormat(undefined, { year: 'numeric', month: 'short', day: 'numeric' })
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' })

const isTime = (ms: number): boolean => ms > 0 && ms < 8.64e15

/** When something was, as short as it can be told today. */
export const shortTime = (ms: number): string => {
  if (!isTime(ms)) return ''
  const then = new Date(ms)
  const today = new Date()
  if (then.toDateString() === today.toDateString()) return now.format(then)
  return (then.getFullYear() === today.getFullYear() ? day : year).format(then)
}

export const Time = ({ ms }: { ms: number }): JSX.Element | null =>
  isTime(ms) ? <time dateTime={new Date(ms).toISOString()} title={whole.format(ms)}>{shortTime(ms)}</time> : null

export const bytes = (count: number): string => {
  if (!Number.isFinite(count)) return ''
  const units = ['B', 'kB', 'MB', 'GB']
  let [size, unit] = [count, 0]
  while (size >= 1000 && unit < 3) { size /= 1000; unit++ }
  return `${size < 10 && unit ? size.toFixed(1) : Math.round(size)} ${units[unit]}`
}
