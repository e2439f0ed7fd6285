// Light or dark: as the system has it, or as a person chose.
import { effect } from '@preact/signals'
import { kept } from '../net/kept'

export type Theme = 'auto' | 'light' | 'dark'
export const theme = kept<Theme>('theme', 'auto')

effect(() => { document.documentElement.dataset.theme = theme.value })
