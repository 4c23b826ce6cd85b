# Keys and certificates for IPsec on Windows Server, from an ikewarden service.
#
# The private key is made here, in the machine's key store, and is not exportable. Every function that changes
# something knows -WhatIf and -Confirm. Secrets are SecureStrings that are asked for; none is a plain argument, none
# is written to disk or to the output.
#
# Gateway.psd1 beside this file says which gateway and which service; ikewarden wrote it, and it holds nothing secret.

#Requires -Version 5.1
#Requires -RunAsAdministrator

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$script:Gateway = Import-PowerShellDataFile -LiteralPath (Join-Path -Path $PSScriptRoot -ChildPath 'Gateway.psd1')
$script:Folder = Join-Path -Path $env:ProgramData -ChildPath 'ikewarden'
$script:Group = 'ikewarden'
$script:AuthSetName = 'ikewarden-phase1'

function Get-RootCertificate {
    # The pinned root, from the file beside the module; it must have the SHA-256 that Gateway.psd1 names.
    [CmdletBinding()]
    [OutputType([System.Security.Cryptography.X509Certificates.X509Certificate2])]
    param()

    $path = Join-Path -Path $PSScriptRoot -ChildPath 'root-ca.cer'
    $root = New-Object -TypeName System.Security.Cryptography.X509Certificates.X509Certificate2 -ArgumentList $path
    $sha256 = [System.Security.Cryptography.SHA256]::Create()
    try {
        $found = [System.BitConverter]::ToString($sha256.ComputeHash($root.RawData)).Replace('-', '').ToLowerInvariant()
    }
    finally {
        $sha256.Dispose()
    }
    if ($found -ne $script:Gateway.RootSha256) {
        throw "root-ca.cer is not the root that Gateway.psd1 names. Make the bundle again."
    }
    $root
}

function ConvertTo-Certificate {
    # A certificate from PEM text.
    [CmdletBinding()]
    [OutputType([System.Security.Cryptography.X509Certificates.X509Certificate2])]
    param(
        [Parameter(Mandatory = $true)]
        [string]$Pem
    )

    $octets = [System.Convert]::FromBase64String(($Pem -replace '-----[A-Z ]+-----', '' -replace '\s', ''))
    New-Object -TypeName System.Security.Cryptography.X509Certificates.X509Certificate2 -ArgumentList (, $octets)
}

function Add-ToStore {
    # Put a certificate without a key into a store of the machine, where it is not there yet.
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [Parameter(Mandatory = $true)]
        [System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate,

        [Parameter(Mandatory = $true)]
        [ValidateSet('Root', 'CertificateAuthority')]
        [string]$Store
    )

    $place = New-Object -TypeName System.Security.Cryptography.X509Certificates.X509Store -ArgumentList $Store, 'LocalMachine'
    $place.Open([System.Security.Cryptography.X509Certificates.OpenFlags]::ReadWrite)
    try {
        if ($place.Certificates.Contains($Certificate)) {
            return
        }
        if ($PSCmdlet.ShouldProcess("LocalMachine\$Store", "Add $($Certificate.Subject) ($($Certificate.Thumbprint))")) {
            $place.Add($Certificate)
        }
    }
    finally {
        $place.Close()
    }
}

function Install-IkewardenAuthority {
    <#
    .SYNOPSIS
        Trusts the service's root: for TLS to the service and for IKE peers.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param()

    Add-ToStore -Certificate (Get-RootCertificate) -Store Root
}

function New-PrivateFolder {
    # %ProgramData%\ikewarden, for administrators and the system alone.
    [CmdletBinding(SupportsShouldProcess = $true)]
    param()

    if (Test-Path -LiteralPath $script:Folder) {
        # Every user may make folders in %ProgramData%. One of his holds what he put there: a request for his own key.
        $owner = (Get-Acl -LiteralPath $script:Folder).GetOwner([System.Security.Principal.SecurityIdentifier]).Value
        $attributes = (Get-Item -LiteralPath $script:Folder -Force).Attributes
        $isLink = ($attributes -band [System.IO.FileAttributes]::ReparsePoint) -ne 0
        if ($isLink -or $owner -notin @('S-1-5-18', 'S-1-5-32-544')) {
            throw "$($script:Folder) is not the administrators' own ($owner): find out who made it, and remove it."
        }
        return
    }
    if (-not $PSCmdlet.ShouldProcess($script:Folder, 'Make a folder for administrators and the system alone')) {
        return
    }
    $null = New-Item -ItemType Directory -Path $script:Folder
    # *S-1-5-18 is the system, *S-1-5-32-544 are the administrators, whatever they are called here.
    Invoke-Program -Path "$env:SystemRoot\System32\icacls.exe" -ArgumentList @(
        $script:Folder, '/inheritance:r', '/grant:r', '*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F'
    )
    Invoke-Program -Path "$env:SystemRoot\System32\icacls.exe" -ArgumentList @(
        $script:Folder, '/setowner', '*S-1-5-32-544'
    )
}

function Invoke-Program {
    # Run a program of the system and fail when it fails. Its arguments never hold a secret.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [string]$Path,

        [Parameter(Mandatory = $true)]
        [string[]]$ArgumentList
    )

    $said = & $Path @ArgumentList 2>&1 | Out-String
    if ($LASTEXITCODE -ne 0) {
        throw "$(Split-Path -Path $Path -Leaf) ended with code ${LASTEXITCODE}: $said"
    }
    Write-Verbose -Message $said
}

function New-Request {
    # Make a key in the machine's store and a request for it; gives the path of the request. With a request there
    # already, that one is used again: its key is waiting for its certificate.
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType([string])]
    param(
        [Parameter(Mandatory = $true)]
        [ValidateSet('ECDSA_P256', 'ECDSA_P384', 'RSA')]
        [string]$KeyAlgorithm,

        [Parameter(Mandatory = $true)]
        [ValidateSet('enroll', 'renew')]
        [string]$Purpose
    )

    $policy = Join-Path -Path $script:Folder -ChildPath "$Purpose.inf"
    $request = Join-Path -Path $script:Folder -ChildPath "$Purpose.req"
    New-PrivateFolder
    if (Test-Path -LiteralPath $request) {
        return $request
    }
    if (-not $PSCmdlet.ShouldProcess("a new $KeyAlgorithm key in the machine's key store", 'Make, with a request for it')) {
        return $null
    }
    $length = @{ ECDSA_P256 = 256; ECDSA_P384 = 384; RSA = 3072 }[$KeyAlgorithm]
    $lines = @(
        '[Version]'
        'Signature="$Windows NT$"'
        '[NewRequest]'
        'Subject=""'
        "KeyAlgorithm=$KeyAlgorithm"
        "KeyLength=$length"
        'HashAlgorithm=SHA256'
        'MachineKeySet=TRUE'
        'Exportable=FALSE'
        'SMIME=FALSE'
        'ProviderName="Microsoft Software Key Storage Provider"'
        'RequestType=PKCS10'
        "FriendlyName=""ikewarden $($script:Gateway.Name)"""
        '[Extensions]'
        '2.5.29.17="{text}"'
    )
    foreach ($name in $script:Gateway.Names) {
        $kind, $value = $name -split ':', 2
        $word = @{ dns = 'dns'; ip = 'ipaddress'; email = 'email' }[$kind]
        if ($null -ne $word) {
            $lines += "_continue_=""$word=$value&"""
        }
    }
    Set-Content -LiteralPath $policy -Value $lines -Encoding Ascii
    Invoke-Program -Path "$env:SystemRoot\System32\certreq.exe" -ArgumentList @('-new', '-q', '-machine', $policy, $request)
    # One key for one request: what is sent again after a lost answer gets the same certificate.
    [guid]::NewGuid().ToString() | Set-Content -LiteralPath "$request.key" -Encoding Ascii
    $request
}

function Send-Request {
    # POST a request to the service; gives its answer.
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)]
        [string]$Path,

        [Parameter(Mandatory = $true)]
        [hashtable]$Body,

        [Parameter(Mandatory = $true)]
        [string]$IdempotencyKey,

        [System.Security.SecureString]$Token,

        [System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate
    )

    [System.Net.ServicePointManager]::SecurityProtocol = [System.Net.SecurityProtocolType]::Tls12
    $given = @{
        Uri = $script:Gateway.Url + $Path
        Method = 'Post'
        ContentType = 'application/json'
        Body = (ConvertTo-Json -InputObject $Body -Compress)
        Headers = @{ 'Idempotency-Key' = $IdempotencyKey; Accept = 'application/json' }
        UseBasicParsing = $true
    }
    if ($null -ne $Certificate) {
        $given.Certificate = $Certificate
    }
    if ($null -eq $Token) {
        return Invoke-RestMethod @given
    }
    $pointer = [System.Runtime.InteropServices.Marshal]::SecureStringToBSTR($Token)
    try {
        $given.Headers.Authorization = 'Bearer ' + [System.Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer)
        Invoke-RestMethod @given
    }
    finally {
        [System.Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer)
        $given.Headers.Remove('Authorization')
    }
}

function Get-TokenOf {
    # The token in an enrollment line (iwe1_…), which must be of this gateway and of the pinned root.
    [CmdletBinding()]
    [OutputType([System.Security.SecureString])]
    param(
        [Parameter(Mandatory = $true)]
        [System.Security.SecureString]$Enrollment
    )

    $pointer = [System.Runtime.InteropServices.Marshal]::SecureStringToBSTR($Enrollment)
    try {
        $line = [System.Runtime.InteropServices.Marshal]::PtrToStringBSTR($pointer) -replace '\s', ''
    }
    finally {
        [System.Runtime.InteropServices.Marshal]::ZeroFreeBSTR($pointer)
    }
    if (-not $line.StartsWith('iwe1_')) {
        throw 'This is no enrollment: paste the whole line that `ikewarden gateway enrollment NAME` printed.'
    }
    $encoded = $line.Substring(5).Replace('-', '+').Replace('_', '/')
    $encoded += '=' * ((4 - $encoded.Length % 4) % 4)
    $content = [System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String($encoded))
    $document = ConvertFrom-Json -InputObject $content
    if ($document.n -ne $script:Gateway.Name -or $document.p -ne $script:Gateway.RootSha256) {
        throw "This enrollment is for another gateway or another service than $($script:Gateway.Name) at $($script:Gateway.Url)."
    }
    $token = New-Object -TypeName System.Security.SecureString
    foreach ($character in $document.t.ToCharArray()) {
        $token.AppendChar($character)
    }
    $token.MakeReadOnly()
    $token
}

function Install-Answer {
    # Put what the service issued in place: issuers into their stores, the certificate beside its key. Gives it.
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType([System.Security.Cryptography.X509Certificates.X509Certificate2])]
    param(
        [Parameter(Mandatory = $true)]
        [psobject]$Answer,

        [Parameter(Mandatory = $true)]
        [string]$Request
    )

    $certificate = ConvertTo-Certificate -Pem $Answer.certificate
    if (-not $PSCmdlet.ShouldProcess('LocalMachine\My', "Install $($certificate.Subject) ($($certificate.Thumbprint))")) {
        return $null
    }
    foreach ($pem in $Answer.chain) {
        $issuer = ConvertTo-Certificate -Pem $pem
        if ($issuer.Subject -ne $issuer.Issuer) {
            Add-ToStore -Certificate $issuer -Store CertificateAuthority
        }
    }
    $file = "$Request.cer"
    Set-Content -LiteralPath $file -Value $Answer.certificate -Encoding Ascii
    Invoke-Program -Path "$env:SystemRoot\System32\certreq.exe" -ArgumentList @('-accept', '-q', '-machine', $file)
    $installed = Get-Item -LiteralPath "Cert:\LocalMachine\My\$($certificate.Thumbprint)"
    if (-not $installed.HasPrivateKey) {
        throw "The certificate $($certificate.Thumbprint) was installed without its key; the former one stays in use."
    }
    Remove-Item -LiteralPath $Request, "$Request.key", $file -ErrorAction SilentlyContinue
    $installed
}

function Register-IkewardenGateway {
    <#
    .SYNOPSIS
        Makes this gateway's key and gets its certificate with a one-time enrollment.
    .PARAMETER Enrollment
        The line that `ikewarden gateway enrollment NAME` printed. It is asked for when it is not given.
    .EXAMPLE
        Register-IkewardenGateway
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType([System.Security.Cryptography.X509Certificates.X509Certificate2])]
    param(
        [Parameter(Mandatory = $true)]
        [System.Security.SecureString]$Enrollment,

        [ValidateSet('ECDSA_P256', 'ECDSA_P384', 'RSA')]
        [string]$KeyAlgorithm = 'ECDSA_P256'
    )

    $token = Get-TokenOf -Enrollment $Enrollment
    Install-IkewardenAuthority
    $request = New-Request -KeyAlgorithm $KeyAlgorithm -Purpose enroll
    if ($null -eq $request -or -not $PSCmdlet.ShouldProcess($script:Gateway.Url, 'Ask for a certificate')) {
        return
    }
    $body = @{
        csr = [System.IO.File]::ReadAllText($request)
        profile = $script:Gateway.Profile
        gateway = $script:Gateway.Name
    }
    $key = (Get-Content -LiteralPath "$request.key" -TotalCount 1).Trim()
    $answer = Send-Request -Path '/v1/certificates' -Body $body -IdempotencyKey $key -Token $token
    $installed = Install-Answer -Answer $answer -Request $request
    Protect-IkewardenKey -Certificate $installed
    $installed
}

function Get-IkewardenCertificate {
    <#
    .SYNOPSIS
        Gives this gateway's certificates that have their key, the newest first.
    #>
    [CmdletBinding()]
    [OutputType([System.Security.Cryptography.X509Certificates.X509Certificate2])]
    param()

    Get-ChildItem -LiteralPath Cert:\LocalMachine\My |
        Where-Object { $_.HasPrivateKey -and $_.FriendlyName -eq "ikewarden $($script:Gateway.Name)" } |
        Sort-Object -Property NotBefore -Descending
}

function Update-IkewardenCertificate {
    <#
    .SYNOPSIS
        Renews the certificate when two thirds of its life are over, with a new key.
    .DESCRIPTION
        For a scheduled task. The service is shown the present certificate; no token is needed. The former certificate
        stays until Remove-IkewardenOldCertificate.
    .PARAMETER Force
        Renew now.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType([System.Security.Cryptography.X509Certificates.X509Certificate2])]
    param(
        [ValidateSet('ECDSA_P256', 'ECDSA_P384', 'RSA')]
        [string]$KeyAlgorithm = 'ECDSA_P256',

        [switch]$Force
    )

    $current = Get-IkewardenCertificate | Select-Object -First 1
    if ($null -eq $current) {
        throw 'There is no certificate to renew: run Register-IkewardenGateway.'
    }
    $life = $current.NotAfter - $current.NotBefore
    $due = $current.NotBefore.AddSeconds($life.TotalSeconds * 2 / 3)
    if (-not $Force -and (Get-Date) -lt $due) {
        Write-Verbose -Message "Not before $due."
        return
    }
    $request = New-Request -KeyAlgorithm $KeyAlgorithm -Purpose renew
    if ($null -eq $request -or -not $PSCmdlet.ShouldProcess($script:Gateway.Url, "Renew $($current.Thumbprint)")) {
        return
    }
    $path = '/v1/certificates/' + $current.SerialNumber.ToLowerInvariant() + '/renew'
    $body = @{ csr = [System.IO.File]::ReadAllText($request) }
    $key = (Get-Content -LiteralPath "$request.key" -TotalCount 1).Trim()
    $answer = Send-Request -Path $path -Body $body -IdempotencyKey $key -Certificate $current
    $installed = Install-Answer -Answer $answer -Request $request
    Protect-IkewardenKey -Certificate $installed
    $installed
}

function Import-IkewardenCredential {
    <#
    .SYNOPSIS
        Imports a PKCS #12 file into the machine's store, its key not exportable, in the place of an enrollment here.
    .DESCRIPTION
        Where the key was made elsewhere: `ikewarden agent once --render pkcs12` writes such a file. Delete it afterwards.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType([System.Security.Cryptography.X509Certificates.X509Certificate2])]
    param(
        [Parameter(Mandatory = $true)]
        [string]$FilePath,

        [Parameter(Mandatory = $true)]
        [System.Security.SecureString]$Password
    )

    Install-IkewardenAuthority
    if (-not $PSCmdlet.ShouldProcess('LocalMachine\My', "Import $FilePath, the key not exportable")) {
        return
    }
    # Without -Exportable the key is not.
    $imported = Import-PfxCertificate -FilePath $FilePath -CertStoreLocation Cert:\LocalMachine\My -Password $Password
    foreach ($certificate in $imported) {
        if ($certificate.HasPrivateKey) {
            $certificate.FriendlyName = "ikewarden $($script:Gateway.Name)"
            Protect-IkewardenKey -Certificate $certificate
            $certificate
        }
        elseif ($certificate.Subject -ne $certificate.Issuer) {
            Add-ToStore -Certificate $certificate -Store CertificateAuthority
        }
    }
}

function Protect-IkewardenKey {
    <#
    .SYNOPSIS
        Lets only the system and administrators read the file of a certificate's private key.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [Parameter(Mandatory = $true, ValueFromPipeline = $true)]
        [System.Security.Cryptography.X509Certificates.X509Certificate2]$Certificate
    )

    process {
        $key = [System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($Certificate)
        if ($null -eq $key) {
            $key = [System.Security.Cryptography.X509Certificates.RSACertificateExtensions]::GetRSAPrivateKey($Certificate)
        }
        if ($null -eq $key -or $null -eq $key.PSObject.Properties['Key']) {
            throw "The key of $($Certificate.Thumbprint) is in no key storage provider that is known here."
        }
        $path = Join-Path -Path $env:ProgramData -ChildPath "Microsoft\Crypto\Keys\$($key.Key.UniqueName)"
        if (-not (Test-Path -LiteralPath $path)) {
            Write-Warning -Message "The key of $($Certificate.Thumbprint) has no file of its own (a TPM, say)."
            return
        }
        if ($PSCmdlet.ShouldProcess($path, 'Let only the system and administrators read it')) {
            Invoke-Program -Path "$env:SystemRoot\System32\icacls.exe" -ArgumentList @(
                $path, '/inheritance:r', '/grant:r', '*S-1-5-18:F', '*S-1-5-32-544:F'
            )
        }
    }
}

function Remove-IkewardenOldCertificate {
    <#
    .SYNOPSIS
        Removes this gateway's former certificates with their keys, once the newest is in use.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    param()

    foreach ($old in @(Get-IkewardenCertificate | Select-Object -Skip 1)) {
        if ($PSCmdlet.ShouldProcess("LocalMachine\My\$($old.Thumbprint)", 'Remove with its key')) {
            Remove-Item -LiteralPath "Cert:\LocalMachine\My\$($old.Thumbprint)" -DeleteKey
        }
    }
}

function Set-IkewardenAuthentication {
    <#
    .SYNOPSIS
        Makes the phase 1 authentication set: machine certificates under the service's root, and nothing else.
    .PARAMETER Signing
        The kind of key in the certificates of both ends.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [ValidateSet('ECDSA256', 'ECDSA384', 'RSA')]
        [string]$Signing = 'ECDSA256'
    )

    $root = Get-RootCertificate
    # The attributes in the order of the certificate, the most general first, as the documentation's examples have them.
    $authority = $root.SubjectName.Decode([System.Security.Cryptography.X509Certificates.X500DistinguishedNameFlags]::None)
    $proposal = New-NetIPsecAuthProposal -Machine -Cert -Authority $authority -AuthorityType Root -Signing $Signing
    $existing = Get-NetIPsecPhase1AuthSet -Name $script:AuthSetName -ErrorAction SilentlyContinue
    if ($null -ne $existing) {
        if ($PSCmdlet.ShouldProcess($script:AuthSetName, 'Change the phase 1 authentication set')) {
            Set-NetIPsecPhase1AuthSet -Name $script:AuthSetName -Proposal $proposal
        }
    }
    elseif ($PSCmdlet.ShouldProcess($script:AuthSetName, 'Make the phase 1 authentication set')) {
        $null = New-NetIPsecPhase1AuthSet -Name $script:AuthSetName -DisplayName 'ikewarden certificates' `
            -Group $script:Group -Proposal $proposal
    }
}

function Set-IkewardenTunnel {
    <#
    .SYNOPSIS
        Makes or replaces an IKEv2 tunnel rule that authenticates with the certificates of this fleet.
    .EXAMPLE
        Set-IkewardenTunnel -Name site-b -LocalEndpoint 192.0.2.1 -RemoteEndpoint 192.0.2.2 `
            -LocalNetwork 10.1.0.0/24 -RemoteNetwork 10.2.0.0/24 -WhatIf
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [Parameter(Mandatory = $true)]
        [ValidatePattern('^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$')]
        [string]$Name,

        [Parameter(Mandatory = $true)]
        [System.Net.IPAddress]$LocalEndpoint,

        [Parameter(Mandatory = $true)]
        [System.Net.IPAddress]$RemoteEndpoint,

        [Parameter(Mandatory = $true)]
        [string[]]$LocalNetwork,

        [Parameter(Mandatory = $true)]
        [string[]]$RemoteNetwork
    )

    if ($null -eq (Get-NetIPsecPhase1AuthSet -Name $script:AuthSetName -ErrorAction SilentlyContinue)) {
        throw 'There is no authentication set yet: run Set-IkewardenAuthentication.'
    }
    $rule = "ikewarden-$Name"
    if (-not $PSCmdlet.ShouldProcess($rule, 'Make the IPsec tunnel rule')) {
        return
    }
    $settings = @{
        DisplayName = $rule
        Mode = 'Tunnel'
        KeyModule = 'IKEv2'
        InboundSecurity = 'Require'
        OutboundSecurity = 'Require'
        LocalTunnelEndpoint = $LocalEndpoint.ToString()
        RemoteTunnelEndpoint = $RemoteEndpoint.ToString()
        LocalAddress = $LocalNetwork
        RemoteAddress = $RemoteNetwork
        Phase1AuthSet = $script:AuthSetName
    }
    if ($null -ne (Get-NetIPsecRule -IPsecRuleName $rule -ErrorAction SilentlyContinue)) {
        Remove-NetIPsecRule -IPsecRuleName $rule -Confirm:$false
    }
    $null = New-NetIPsecRule -IPsecRuleName $rule -Group $script:Group @settings
}

function Set-IkewardenRras {
    <#
    .SYNOPSIS
        Lets Routing and Remote Access show the newest certificate to its site-to-site peers, and accept theirs.
    .DESCRIPTION
        RRAS takes the change when its service restarts, which ends every tunnel and every dial-in. So the restart is
        asked for, and is done only with -Restart.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    param(
        [switch]$Restart
    )

    $current = Get-IkewardenCertificate | Select-Object -First 1
    if ($null -eq $current) {
        throw 'There is no certificate yet: run Register-IkewardenGateway.'
    }
    if ($PSCmdlet.ShouldProcess('RRAS', "Advertise $($current.Thumbprint), accept certificates under the service's root")) {
        Set-VpnAuthProtocol -UserAuthProtocolAccepted Certificate -TunnelAuthProtocolsAdvertised Certificates `
            -RootCertificateNameToAccept (Get-RootCertificate) -CertificateAdvertised $current -Confirm:$false
    }
    if ($Restart -and $PSCmdlet.ShouldProcess('RemoteAccess', 'Restart the service: all its tunnels end')) {
        Restart-Service -Name RemoteAccess -Confirm:$false
    }
}

function Remove-IkewardenSecurityAssociation {
    <#
    .SYNOPSIS
        Ends the security associations with one peer, so that it has to authenticate again.
    .DESCRIPTION
        For a peer whose certificate was revoked, and after a renewal. Windows does not tell which certificate
        authenticated an SA; the peer is named by its address.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    param(
        [Parameter(Mandatory = $true)]
        [System.Net.IPAddress]$RemoteEndpoint
    )

    $address = $RemoteEndpoint.ToString()
    foreach ($kind in 'QuickMode', 'MainMode') {
        $found = @(
            & "Get-NetIPsec${kind}SA" -ErrorAction SilentlyContinue |
                Where-Object { $_.RemoteEndpoint -eq $address }
        )
        foreach ($association in $found) {
            if ($PSCmdlet.ShouldProcess("$kind SA with $address", 'Remove')) {
                & "Remove-NetIPsec${kind}SA" -InputObject $association -Confirm:$false
            }
        }
    }
}

Export-ModuleMember -Function @(
    'Install-IkewardenAuthority'
    'Register-IkewardenGateway'
    'Get-IkewardenCertificate'
    'Update-IkewardenCertificate'
    'Import-IkewardenCredential'
    'Protect-IkewardenKey'
    'Remove-IkewardenOldCertificate'
    'Set-IkewardenAuthentication'
    'Set-IkewardenTunnel'
    'Set-IkewardenRras'
    'Remove-IkewardenSecurityAssociation'
)
