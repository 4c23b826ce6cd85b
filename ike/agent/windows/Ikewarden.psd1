@{
    RootModule = 'Ikewarden.psm1'
    ModuleVersion = '0.1.0'
    GUID = '6f1a3f0e-6f0b-4b55-9d0f-1f2f0a0f6c11'
    Author = 'ikewarden'
    Description = 'Keys and certificates for IPsec on Windows Server, from an ikewarden service.'
    PowerShellVersion = '5.1'
    FunctionsToExport = @(
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
    CmdletsToExport = @()
    VariablesToExport = @()
    AliasesToExport = @()
}
