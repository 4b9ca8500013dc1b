<#
.SYNOPSIS
Starts gpupanel, or its tests, from a bare checkout on Windows:
    powershell -ExecutionPolicy Bypass -File packaging\dev.ps1 run | test | ctl [arguments]

.DESCRIPTION
The Windows face of packaging/dev: makes .venv, installs the hash-locked requirements and starts.
A stamp in .venv, written last, lets the next start skip all that. Python 3.11 to 3.14 must be
there (python.org, or "winget install Python.Python.3.13"). OpenCL comes with the GPU's driver;
without one gpupanel monitors, and the loads say that there is no device.

This script has never run on a Windows machine: no developer of it had one.
#>
# No param block: it would take "-k" or "-m", meant for pytest, as its own.
Set-StrictMode -Version 3
$ErrorActionPreference = 'Stop'
$verb = $args | Select-Object -First 1
$rest = @($args | Select-Object -Skip 1)

$root = Split-Path -Parent $PSScriptRoot
$venv = Join-Path $root '.venv'
$bin = Join-Path $venv 'Scripts'
$python = Join-Path $bin 'python.exe'
$locks = Join-Path $PSScriptRoot 'requirements'
$stamp = Join-Path $venv 'gpupanel.stamp'

function Invoke-Step([string] $Program, [string[]] $With) {
    & $Program @With
    if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
}

function Find-Python {
    $ErrorActionPreference = 'Continue' # PowerShell 5.1 takes a redirected stderr for an error
    foreach ($minor in 14, 13, 12, 11) {
        & py "-3.$minor" -c 'import ensurepip' 2>$null
        if ($LASTEXITCODE -eq 0) { return "-3.$minor" }
    }
    throw 'No Python 3.11 to 3.14 is known to the py launcher: install one, then start again.'
}

function Get-Fingerprint {
    $sources = @(Get-ChildItem (Join-Path $locks '*.txt')) + @(Get-Item (Join-Path $root 'pyproject.toml'), $PSCommandPath)
    return "$root " + (($sources | Get-FileHash).Hash -join ' ')
}

# Brings .venv to the level 'run' or 'test'. Any other stamp, or none, means a new .venv.
function Initialize-Environment([string] $Level) {
    $fingerprint = Get-Fingerprint
    $made = @('', '')
    if ((Test-Path $python) -and (Test-Path $stamp)) { $made = @(Get-Content $stamp) + '', '' }
    if ($made[0] -eq 'test') { $Level = 'test' }
    if (($made[0] -eq $Level) -and ($made[1] -eq $fingerprint)) { return }

    $requirements = if ($Level -eq 'test') { 'dev.txt' } else { 'runtime.txt', 'build.txt' }
    $options = foreach ($name in $requirements) { '-r'; Join-Path $locks $name }
    $pip = @('-m', 'pip', '--disable-pip-version-check', '-q', 'install')
    if (Test-Path $stamp) { Remove-Item $stamp }
    if ($made[1] -ne $fingerprint) { Invoke-Step 'py' @((Find-Python), '-m', 'venv', '--clear', $venv) }
    Invoke-Step $python ($pip + '--require-hashes', '--only-binary=:all:' + $options)
    Invoke-Step $python ($pip + '--no-index', '--no-deps', '--no-build-isolation', '--editable', $root)
    Set-Content -Path $stamp -Value $Level, $fingerprint -Encoding utf8
}

function Start-Tests {
    Set-Location $root
    if ($rest.Count -eq 0) {
        Invoke-Step (Join-Path $bin 'ruff') @('check')
        Invoke-Step (Join-Path $bin 'ruff') @('format', '--check')
        Invoke-Step (Join-Path $bin 'mypy') @()
        Invoke-Step (Join-Path $bin 'mypy') @('--platform', 'linux', 'gpupanel')
        Invoke-Step (Join-Path $bin 'lint-imports') @()
    }
    Invoke-Step $python (@('-m', 'pytest') + $rest)
}

switch ($verb) {
    'run' { Initialize-Environment 'run'; Invoke-Step $python (@('-P', '-m', 'gpupanel') + $rest) }
    'test' { Initialize-Environment 'test'; Start-Tests }
    'ctl' { Initialize-Environment 'run'; Invoke-Step (Join-Path $bin 'gpupanelctl') $rest }
    default {
        [Console]::Error.WriteLine('Usage: packaging\dev.ps1 run | test | ctl [arguments]')
        exit 2
    }
}
