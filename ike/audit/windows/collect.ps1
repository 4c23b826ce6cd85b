# What the secrets audit of ikewarden must know of a Windows Server: certificates of the machine, who may read their
# keys, IPsec rules and their sets, the VPN server's settings, PFX files. Writes one JSON document to the output.
#
# Only looks: it changes nothing, and opens no connection. No private key is exported, and no pre-shared key is in the
# document: only its length, and a fingerprint by which equal ones are known within this one document.
#
#     .\collect.ps1 | Set-Content -Encoding UTF8 collected.json
#
# Then, anywhere:   ikewarden audit --windows collected.json

#Requires -Version 5.1

[CmdletBinding()]
[OutputType([string])]
param(
    # More folders in which to look for PFX files.
    [string[]]$Folder = @()
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

$script:MaxFiles = 2000
$script:MaxCertificates = 2000
$script:Problems = New-Object -TypeName System.Collections.ArrayList

# Its key is made at random, new for each document: fingerprints cannot be compared with those of another.
$script:Hmac = New-Object -TypeName System.Security.Cryptography.HMACSHA256

function Get-Value {
    # The first of some properties that an object has, as text; '' without one. Versions of Windows name them differently.
    [CmdletBinding()]
    [OutputType([string])]
    param(
        [Parameter(Mandatory = $true)]
        [AllowNull()]
        [object]$Of,

        [Parameter(Mandatory = $true)]
        [string[]]$Name
    )

    if ($null -ne $Of) {
        foreach ($each in $Name) {
            $property = $Of.PSObject.Properties[$each]
            if ($null -ne $property -and $null -ne $property.Value) {
                return ($property.Value -join ', ')
            }
        }
    }
    ''
}

function Get-List {
    # The values of the first of some properties that an object has.
    [CmdletBinding()]
    [OutputType([object[]])]
    param(
        [Parameter(Mandatory = $true)]
        [object]$Of,

        [Parameter(Mandatory = $true)]
        [string[]]$Name
    )

    foreach ($each in $Name) {
        $property = $Of.PSObject.Properties[$each]
        if ($null -ne $property -and $null -ne $property.Value) {
            return @($property.Value)
        }
    }
    @()
}

function Add-Problem {
    # Keep that a part could not be looked at, and go on. Never the text of an error: it may quote what it stumbled over.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [string]$Part,

        [Parameter(Mandatory = $true)]
        [System.Management.Automation.ErrorRecord]$Record
    )

    if ($script:Problems.Count -lt 200) {
        $null = $script:Problems.Add([ordered]@{
                part = $Part
                message = $Record.Exception.GetType().Name + ': ' + $Record.CategoryInfo.Category
            })
    }
}

function Get-Part {
    # What a block gives; a problem is kept where it fails.
    [CmdletBinding()]
    [OutputType([object[]])]
    param(
        [Parameter(Mandatory = $true)]
        [string]$Name,

        [Parameter(Mandatory = $true)]
        [scriptblock]$Block
    )

    try {
        & $Block
    }
    catch {
        Add-Problem -Part $Name -Record $_
    }
}

function Get-Access {
    # The owner of a file and who may do what with it, by SID: names differ from language to language.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [string]$Path
    )

    try {
        $acl = Get-Acl -LiteralPath $Path
        $sid = [System.Security.Principal.SecurityIdentifier]
        # An array that is made here: one that came out of a function would be written as an object (PowerShell 5.1).
        $entries = @(foreach ($entry in $acl.GetAccessRules($true, $true, $sid)) {
            [ordered]@{
                sid = $entry.IdentityReference.Value
                # Generic rights make it negative.
                rights = [long]([int]$entry.FileSystemRights) -band [long]4294967295
                allow = $entry.AccessControlType -eq [System.Security.AccessControl.AccessControlType]::Allow
            }
        })
        [ordered]@{
            owner = $acl.GetOwner($sid).Value
            entries = $entries
        }
    }
    catch {
        Add-Problem -Part $Path -Record $_
        $null
    }
}

function Get-Moment {
    # A time in UTC as RFC 3339 has it.
    [CmdletBinding()]
    [OutputType([string])]
    param(
        [Parameter(Mandatory = $true)]
        [datetime]$Of
    )

    $Of.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", [System.Globalization.CultureInfo]::InvariantCulture)
}

function Get-SecretMark {
    # What may be told of a secret: how long it is, and a fingerprint.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [AllowEmptyString()]
        [string]$Value
    )

    $digest = $script:Hmac.ComputeHash([System.Text.Encoding]::UTF8.GetBytes($Value))
    [ordered]@{
        length = $Value.Length
        fingerprint = [System.BitConverter]::ToString($digest).Replace('-', '').Substring(0, 12).ToLowerInvariant()
    }
}

function Get-KeyFact {
    # Whether a key can be exported, and the name of its file. Opens the key, and exports nothing.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate
    )

    $fact = [ordered]@{ exportable = $null; provider = ''; key_name = '' }
    try {
        $key = [System.Security.Cryptography.X509Certificates.RSACertificateExtensions]::GetRSAPrivateKey($Certificate)
        if ($null -eq $key) {
            $key = [System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($Certificate)
        }
        if ($null -eq $key) {
            return $fact
        }
        if ($null -ne $key.PSObject.Properties['Key']) {
            # AllowExport 1, AllowPlaintextExport 2; the other two are for archiving, once.
            $fact.exportable = ([int]$key.Key.ExportPolicy -band 3) -ne 0
            $fact.provider = [string]$key.Key.Provider.Provider
            $fact.key_name = [string]$key.Key.UniqueName
        }
        elseif ($null -ne $key.PSObject.Properties['CspKeyContainerInfo']) {
            $fact.exportable = [bool]$key.CspKeyContainerInfo.Exportable
            $fact.provider = [string]$key.CspKeyContainerInfo.ProviderName
            $fact.key_name = [string]$key.CspKeyContainerInfo.UniqueKeyContainerName
        }
        $key.Dispose()
    }
    catch {
        Add-Problem -Part "Cert:\LocalMachine\My\$($Certificate.Thumbprint)" -Record $_
    }
    $fact
}

function Get-MachineCertificate {
    # The certificates of the machine's own store; all else is read from the certificate itself.
    [CmdletBinding()]
    param()

    $certificates = Get-ChildItem -LiteralPath 'Cert:\LocalMachine\My' | Where-Object -FilterScript { -not $_.PSIsContainer }
    foreach ($certificate in @($certificates | Select-Object -First $script:MaxCertificates)) {
        $fact = [ordered]@{ exportable = $null; provider = ''; key_name = '' }
        if ($certificate.HasPrivateKey) {
            $fact = Get-KeyFact -Certificate $certificate
        }
        [ordered]@{
            store = 'My'
            thumbprint = $certificate.Thumbprint
            der = [System.Convert]::ToBase64String($certificate.RawData)
            private_key = [bool]$certificate.HasPrivateKey
            exportable = $fact.exportable
            provider = $fact.provider
            key_name = $fact.key_name
        }
    }
}

function Get-KeyFile {
    # The files of the machine's private keys: of the older interface, and of the newer one.
    [CmdletBinding()]
    param()

    $base = Join-Path -Path $env:ProgramData -ChildPath 'Microsoft\Crypto'
    foreach ($name in @('RSA\MachineKeys', 'Keys')) {
        $path = Join-Path -Path $base -ChildPath $name
        if (-not (Test-Path -LiteralPath $path)) {
            continue
        }
        $files = Get-ChildItem -LiteralPath $path -File -Force
        foreach ($file in @($files | Select-Object -First $script:MaxFiles)) {
            [ordered]@{
                path = $file.FullName
                name = $file.Name
                access = Get-Access -Path $file.FullName
            }
        }
    }
}

function Get-PfxFile {
    # PFX files where they are usually left. Folders that are links are not entered.
    [CmdletBinding()]
    param()

    $places = New-Object -TypeName System.Collections.ArrayList
    $drive = "$env:SystemDrive\"
    $null = $places.Add(@($drive, 0))
    foreach ($name in @('certs', 'cert', 'ssl', 'temp', 'inetpub', 'install', 'scripts', 'ProgramData', 'Windows\Temp')) {
        $null = $places.Add(@((Join-Path -Path $drive -ChildPath $name), 3))
    }
    foreach ($user in @(Get-ChildItem -LiteralPath (Join-Path -Path $drive -ChildPath 'Users') -Directory -Force)) {
        $null = $places.Add(@($user.FullName, 0))
        foreach ($name in @('Desktop', 'Documents', 'Downloads')) {
            $null = $places.Add(@((Join-Path -Path $user.FullName -ChildPath $name), 3))
        }
    }
    foreach ($name in $Folder) {
        $null = $places.Add(@($name, 5))
    }
    $found = @{}
    foreach ($place in $places) {
        Search-Folder -Path $place[0] -Depth $place[1] -Found $found
    }
    foreach ($path in @($found.Keys | Sort-Object)) {
        [ordered]@{
            path = $path
            octets = [long]$found[$path].Length
            changed = Get-Moment -Of $found[$path].LastWriteTimeUtc
            access = Get-Access -Path $path
        }
    }
}

function Search-Folder {
    # Put the PFX files of a folder, and of some levels below, into a table by path.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [string]$Path,

        [Parameter(Mandatory = $true)]
        [int]$Depth,

        [Parameter(Mandatory = $true)]
        [hashtable]$Found
    )

    if (-not (Test-Path -LiteralPath $Path -PathType Container)) {
        return
    }
    try {
        $items = @(Get-ChildItem -LiteralPath $Path -Force | Select-Object -First 10000)
    }
    catch {
        Add-Problem -Part $Path -Record $_
        return
    }
    foreach ($item in $items) {
        if ($Found.Count -ge $script:MaxFiles) {
            return
        }
        if (-not $item.PSIsContainer) {
            if ($item.Extension -in @('.pfx', '.p12')) {
                $Found[$item.FullName] = $item
            }
        }
        elseif ($Depth -gt 0 -and ($item.Attributes -band [System.IO.FileAttributes]::ReparsePoint) -eq 0) {
            Search-Folder -Path $item.FullName -Depth ($Depth - 1) -Found $Found
        }
    }
}

function Get-Rule {
    # IPsec rules that are in force, wherever they come from.
    [CmdletBinding()]
    param()

    foreach ($rule in @(Get-NetIPsecRule -PolicyStore ActiveStore)) {
        [ordered]@{
            name = Get-Value -Of $rule -Name 'Name', 'InstanceID'
            display_name = Get-Value -Of $rule -Name 'DisplayName', 'ElementName'
            enabled = (Get-Value -Of $rule -Name 'Enabled') -in @('True', '1', 'Enabled')
            mode = Get-Value -Of $rule -Name 'Mode'
            key_module = Get-Value -Of $rule -Name 'KeyModule'
            inbound = Get-Value -Of $rule -Name 'InboundSecurity'
            outbound = Get-Value -Of $rule -Name 'OutboundSecurity'
            phase1_auth_set = Get-Value -Of $rule -Name 'Phase1AuthSet'
            quick_mode_set = Get-Value -Of $rule -Name 'QuickModeCryptoSet'
            local_endpoint = Get-Value -Of $rule -Name 'LocalTunnelEndpoint'
            remote_endpoint = Get-Value -Of $rule -Name 'RemoteTunnelEndpoint'
        }
    }
}

function Get-MainModeRule {
    # Which sets are used for whom in main mode.
    [CmdletBinding()]
    param()

    foreach ($rule in @(Get-NetIPsecMainModeRule -PolicyStore ActiveStore)) {
        [ordered]@{
            name = Get-Value -Of $rule -Name 'Name', 'InstanceID'
            display_name = Get-Value -Of $rule -Name 'DisplayName', 'ElementName'
            enabled = (Get-Value -Of $rule -Name 'Enabled') -in @('True', '1', 'Enabled')
            main_mode_set = Get-Value -Of $rule -Name 'MainModeCryptoSet'
            phase1_auth_set = Get-Value -Of $rule -Name 'Phase1AuthSet'
        }
    }
}

function Get-MainModeSet {
    # What is proposed for the IKE SA.
    [CmdletBinding()]
    param()

    foreach ($set in @(Get-NetIPsecMainModeCryptoSet -PolicyStore ActiveStore)) {
        $proposals = @(foreach ($proposal in @(Get-List -Of $set -Name 'Proposal', 'Proposals')) {
            [ordered]@{
                encryption = Get-Value -Of $proposal -Name 'Encryption', 'CipherAlgorithm'
                hash = Get-Value -Of $proposal -Name 'Hash', 'HashAlgorithm'
                group = Get-Value -Of $proposal -Name 'KeyExchange', 'GroupId'
            }
        })
        [ordered]@{
            name = Get-Value -Of $set -Name 'Name', 'InstanceID'
            display_name = Get-Value -Of $set -Name 'DisplayName', 'ElementName'
            proposals = $proposals
        }
    }
}

function Get-QuickModeSet {
    # What is proposed for the SAs of the traffic.
    [CmdletBinding()]
    param()

    foreach ($set in @(Get-NetIPsecQuickModeCryptoSet -PolicyStore ActiveStore)) {
        $proposals = @(foreach ($proposal in @(Get-List -Of $set -Name 'Proposal', 'Proposals')) {
            [ordered]@{
                encapsulation = Get-Value -Of $proposal -Name 'Encapsulation'
                encryption = Get-Value -Of $proposal -Name 'Encryption', 'CipherAlgorithm'
                esp_hash = Get-Value -Of $proposal -Name 'ESPHash', 'HashAlgorithmESP'
                ah_hash = Get-Value -Of $proposal -Name 'AHHash', 'HashAlgorithmAH'
            }
        })
        [ordered]@{
            name = Get-Value -Of $set -Name 'Name', 'InstanceID'
            display_name = Get-Value -Of $set -Name 'DisplayName', 'ElementName'
            pfs = Get-Value -Of $set -Name 'PerfectForwardSecrecyGroup', 'PfsGroupID'
            proposals = $proposals
        }
    }
}

function Get-AuthSet {
    # How machines prove who they are. A pre-shared key leaves this function as its mark alone.
    [CmdletBinding()]
    param()

    foreach ($set in @(Get-NetIPsecPhase1AuthSet -PolicyStore ActiveStore)) {
        $proposals = @(foreach ($proposal in @(Get-List -Of $set -Name 'Proposal', 'Proposals')) {
            $mark = $null
            $property = $proposal.PSObject.Properties['PreSharedKey']
            if ($null -ne $property -and $null -ne $property.Value) {
                $mark = Get-SecretMark -Value $property.Value
            }
            [ordered]@{
                method = Get-Value -Of $proposal -Name 'AuthenticationMethod'
                psk = $mark
            }
        })
        [ordered]@{
            name = Get-Value -Of $set -Name 'Name', 'InstanceID'
            display_name = Get-Value -Of $set -Name 'DisplayName', 'ElementName'
            proposals = $proposals
        }
    }
}

function Get-TunnelPolicy {
    # The algorithms of the VPN server or of one of its interfaces; empty ones stand for the built-in ones.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [object]$Of,

        [Parameter(Mandatory = $true)]
        [AllowEmptyString()]
        [string]$Name,

        [Parameter(Mandatory = $true)]
        [AllowEmptyString()]
        [string]$Method
    )

    [ordered]@{
        name = $Name
        method = $Method
        custom = (Get-Value -Of $Of -Name 'CustomPolicy') -eq 'True'
        encryption = Get-Value -Of $Of -Name 'EncryptionMethod'
        integrity = Get-Value -Of $Of -Name 'IntegrityCheckMethod'
        group = Get-Value -Of $Of -Name 'DHGroup'
        pfs = Get-Value -Of $Of -Name 'PfsGroup'
        esp_encryption = Get-Value -Of $Of -Name 'CipherTransformConstants'
        esp_integrity = Get-Value -Of $Of -Name 'AuthenticationTransformConstants'
    }
}

function Get-VpnServer {
    # The VPN server (RRAS), where there is one. Its commands come with the role.
    [CmdletBinding()]
    param()

    if ($null -eq (Get-Command -Name 'Get-VpnServerIPsecConfiguration' -ErrorAction SilentlyContinue)) {
        return
    }
    $service = Get-Service -Name 'RemoteAccess' -ErrorAction SilentlyContinue
    if ($null -eq $service -or $service.StartType -eq 'Disabled') {
        return
    }
    $authentication = Get-VpnAuthProtocol
    foreach ($configuration in @(Get-VpnServerIPsecConfiguration)) {
        Get-TunnelPolicy -Of $configuration -Name '' `
            -Method (Get-Value -Of $authentication -Name 'TunnelAuthProtocolsAdvertised')
    }
    if ($null -ne (Get-Command -Name 'Get-VpnS2SInterface' -ErrorAction SilentlyContinue)) {
        foreach ($interface in @(Get-VpnS2SInterface)) {
            Get-TunnelPolicy -Of $interface -Name (Get-Value -Of $interface -Name 'Name') `
                -Method (Get-Value -Of $interface -Name 'AuthenticationMethod')
        }
    }
}

function Get-System {
    # Which Windows it is.
    [CmdletBinding()]
    [OutputType([string])]
    param()

    $system = Get-CimInstance -ClassName Win32_OperatingSystem
    "$($system.Caption) $($system.Version)"
}

$identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
$principal = New-Object -TypeName System.Security.Principal.WindowsPrincipal -ArgumentList $identity
$document = [ordered]@{
    format = 'ikewarden windows'
    version = 1
    host = [System.Net.Dns]::GetHostName()
    system = (Get-Part -Name 'system' -Block { Get-System }) -join ''
    collected = Get-Moment -Of (Get-Date)
    elevated = $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)
    certificates = @(Get-Part -Name 'certificates' -Block { Get-MachineCertificate })
    key_files = @(Get-Part -Name 'key files' -Block { Get-KeyFile })
    pfx_files = @(Get-Part -Name 'PFX files' -Block { Get-PfxFile })
    rules = @(Get-Part -Name 'IPsec rules' -Block { Get-Rule })
    main_mode_rules = @(Get-Part -Name 'main mode rules' -Block { Get-MainModeRule })
    main_mode_sets = @(Get-Part -Name 'main mode sets' -Block { Get-MainModeSet })
    quick_mode_sets = @(Get-Part -Name 'quick mode sets' -Block { Get-QuickModeSet })
    auth_sets = @(Get-Part -Name 'authentication sets' -Block { Get-AuthSet })
    vpn = @(Get-Part -Name 'VPN server' -Block { Get-VpnServer })
    errors = @()
}
$document.errors = @($script:Problems)
ConvertTo-Json -InputObject $document -Depth 8
