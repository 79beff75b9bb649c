using System.CommandLine;
using System.Formats.Asn1;
using System.Globalization;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Cli.Running;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;
using Spectre.Console;

namespace FedLearn.Cli.Commands;

/// <summary><c>fedlearn keys</c>: by what parties know each other.</summary>
internal static class KeysCommand
{
    private const int MostDays = 3650;

    /// <summary>Builds the command.</summary>
    public static Verb Create() => new("keys", """
        Keys and certificates, by which the parties of a session know each other. Mutual TLS encrypts messages that leave a machine: each side
        shows its certificate, and the other side compares it with the pin, a SHA-256, that it was given before.
        """, static command => command.Has(New(), Show()));

    private static Command New()
    {
        var party = new Option<string>("--party") { Description = "Name of the party in the job; the certificate is made out to it.", Required = true, HelpName = "NAME" };
        var folder = new Option<string>("--out") { Description = "Folder for NAME.crt.pem and NAME.key.pem. Default: this one.", HelpName = "DIR", DefaultValueFactory = _ => "." };
        Option<int> days = Options.Whole("--days", string.Create(CultureInfo.InvariantCulture, $"How long the certificate is valid, 1 to {MostDays}. Default {TrialCertificate.DefaultLifetime.Days}."), required: false);
        Option<bool> json = Options.Json();
        var command = new Command("new",
            """
            Make a key and a certificate for a trial between two companies. No authority is needed: each side pins the other's certificate.

            Step by step; the bank listens and the telephone company connects:
              1. At the bank:                  fedlearn keys new --party bank
                 At the telephone company:     fedlearn keys new --party telco
                 Each gets a certificate, to be shown, and a key, which never leaves its machine. An existing file is never replaced.
              2. Each sends the pin that the command printed to the other, by mail for instance.
              3. One calls the other, at a number it knew before, and both read the pins aloud. The bank reads what `fedlearn keys show bank.crt.pem`
                 prints, the telephone company compares it with the mail; then the other way round. This finds a mail that was changed on the way.
              4. Each writes the other's pin into its own party file:
                 bank.party.json     "listen": "0.0.0.0:5301",
                                     "tls": { "certificate": "bank.crt.pem", "key": "bank.key.pem", "peers": { "telco": "sha256:..." } }
                 telco.party.json    "peers": { "bank": "https://bank.example:5301" },
                                     "tls": { "certificate": "telco.crt.pem", "key": "telco.key.pem", "peers": { "bank": "sha256:..." } }
              5. Both start fedlearn party. A certificate with another pin, an expired one, or one on a deny list is refused, and the side that
                 refuses says why.

            Before the certificate expires, make a new one in another folder, and ask the others to add its pin beside the present one:
            "peers": { "bank": ["sha256:...", "sha256:..."] }. docs/guide/identity.md has this, and certificates of a company's own authority.

            Examples:
              fedlearn keys new --party bank
              fedlearn keys new --party bank --out keys-2027 --days 365 --json
            """)
        { party, folder, days, json };
        command.SetAction(parsed => Make(parsed, parsed.GetRequiredValue(party), parsed.GetRequiredValue(folder),
            parsed.GetResult(days) is null ? TrialCertificate.DefaultLifetime.Days : parsed.GetValue(days), json));
        return command;
    }

    private static void Make(ParseResult parsed, string name, string place, int lifetime, Option<bool> json)
    {
        if (!RunFileReader.IsPartyName(name))
            throw new ConfigurationException(CliErrors.Usage, "--party", "a name is also part of file names.", "Use up to 64 of the letters a to z and A to Z, digits, '-', '_' and '.', a letter or digit first.");
        if (lifetime is < 1 or > MostDays)
            throw new ConfigurationException(CliErrors.Usage, "--days", string.Create(CultureInfo.InvariantCulture, $"{lifetime} is no number of days from 1 to {MostDays}."), "Ninety are enough for a trial.");
        string folder = place == "." ? "" : place;
        string certificateFile = Path.Combine(folder, $"{name}.crt.pem"), keyFile = Path.Combine(folder, $"{name}.key.pem");
        foreach (string file in (string[])[certificateFile, keyFile])
            if (Path.Exists(file))
                throw Exists(file, null);
        (string certificatePem, string keyPem) = TrialCertificate.Create(name, TimeSpan.FromDays(lifetime), TimeProvider.System);
        OutputFile.Guard(place, () =>
        {
            Directory.CreateDirectory(place);
            WriteNew(keyFile, keyPem, secret: true);
            try
            {
                WriteNew(certificateFile, certificatePem, secret: false);
            }
            catch
            {
                File.Delete(keyFile); // half a pair helps nobody, and would stand in the way of the next attempt
                throw;
            }
        });
        using var certificate = X509Certificate2.CreateFromPem(certificatePem);
        string pin = CertificatePin.OfKey(certificate).ToString();
        var own = new JsonObject { ["certificate"] = Pasted(certificateFile), ["key"] = Pasted(keyFile), ["peers"] = new JsonObject { ["PEER"] = "sha256:..." } };
        Terminal terminal = Terminal.Of(parsed);
        terminal.Log($"{certificateFile}: the certificate, to be shown to everybody; valid until {certificate.NotAfter.ToUniversalTime():yyyy-MM-dd}");
        terminal.Log($"{keyFile}: its private key, a secret of this machine");
        terminal.Log("");
        terminal.Log("For the party files of the others, under tls.peers (compare it by telephone):");
        terminal.Log($"  \"{name}\": \"{pin}\"");
        terminal.Log($"For this party's own file, in this folder, with the pins of the others for PEER:");
        terminal.Log($"  \"tls\": {{ \"certificate\": \"{own["certificate"]}\", \"key\": \"{own["key"]}\", \"peers\": {{ \"PEER\": \"sha256:...\" }} }}");
        ReportWriter.Print(parsed, json, new JsonObject
        {
            ["party"] = name,
            ["certificateFile"] = certificateFile,
            ["keyFile"] = keyFile,
            ["certificate"] = Describe(certificate, TimeProvider.System),
            ["peers"] = new JsonObject { [name] = pin },
            ["tls"] = own,
        });
    }

    // A path that can be pasted into JSON as it is, on Windows too.
    private static string Pasted(string path) => path.Replace('\\', '/');

    private static Command Show()
    {
        var file = new Argument<string>("FILE") { Description = "PEM file with certificates, such as bank.crt.pem or an authority's." };
        Option<bool> json = Options.Json();
        var command = new Command("show",
            """
            Show the pins of a certificate, whom it is made out to and how long it is valid. `pin` is the SHA-256 of its key; it still holds when an
            authority renews the certificate for the same key. `certificate pin` is that of this very certificate. A party file takes either. No key
            file is read.

            Examples:
              fedlearn keys show bank.crt.pem
              fedlearn keys show bank.crt.pem --json
            """)
        { file, json };
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(file);
            IReadOnlyList<X509Certificate2> certificates = GrpcSecurity.LoadCertificates(path);
            var document = new JsonObject { ["file"] = path, ["certificates"] = new JsonArray([.. certificates.Select(c => (JsonNode)Describe(c, TimeProvider.System))]) };
            Terminal terminal = Terminal.ForResult(parsed, parsed.GetValue(json));
            foreach (JsonObject c in ReportParts.Objects(document["certificates"]))
            {
                Table table = Terminal.Table("", "").HideHeaders();
                void Row(string name, string? value) => table.AddRow(name, Markup.Escape(value ?? "-"));
                Row("pin", (string)c["pin"]!);
                Row("certificate pin", (string)c["certificatePin"]!);
                Row("subject", (string)c["subject"]!);
                Row("names", string.Join(", ", ReportParts.Strings(c["names"])));
                Row("issuer", (bool)c["selfSigned"]! ? "itself" : (string)c["issuer"]!);
                Row("valid from", (string)c["validFrom"]!);
                Row("valid until", (string)c["validUntil"]! + ((string)c["state"]! == "valid" ? "" : $" ({(string)c["state"]!})"));
                Row("serial number", (string)c["serialNumber"]!);
                terminal.Styled.Write(table);
            }

            ReportWriter.Print(parsed, json, document);
        });
        return command;
    }

    private static JsonObject Describe(X509Certificate2 certificate, TimeProvider clock)
    {
        DateTimeOffset now = clock.GetUtcNow(), from = certificate.NotBefore, until = certificate.NotAfter;
        return new JsonObject
        {
            ["pin"] = CertificatePin.OfKey(certificate).ToString(),
            ["certificatePin"] = CertificatePin.OfCertificate(certificate).ToString(),
            ["subject"] = certificate.Subject,
            ["names"] = ReportParts.Texts(Names(certificate)),
            ["issuer"] = certificate.Issuer,
            ["selfSigned"] = certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData),
            ["validFrom"] = Text(from),
            ["validUntil"] = Text(until),
            ["state"] = now < from ? "not valid yet" : now > until ? "expired" : "valid",
            ["serialNumber"] = certificate.SerialNumber,
        };

        static string Text(DateTimeOffset time) => time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
    }

    // DNS names and URIs among the alternative names. The runtime enumerates the former only.
    private static IEnumerable<string> Names(X509Certificate2 certificate)
    {
        Asn1Tag dns = new(TagClass.ContextSpecific, 2), uri = new(TagClass.ContextSpecific, 6);
        foreach (X509Extension extension in certificate.Extensions.Where(e => e is X509SubjectAlternativeNameExtension))
            for (AsnReader names = new AsnReader(extension.RawData, AsnEncodingRules.DER).ReadSequence(); names.HasData;)
            {
                Asn1Tag tag = names.PeekTag();
                if (tag == dns || tag == uri)
                    yield return names.ReadCharacterString(UniversalTagNumber.IA5String, tag);
                else
                    names.ReadEncodedValue();
            }
    }

    // Never over a file that is there: a key that is gone makes its certificate useless to everybody who pinned it.
    private static void WriteNew(string path, string text, bool secret)
    {
        FileStreamOptions options = secret ? DurableFile.OwnerOnly(FileMode.CreateNew, FileAccess.Write, FileShare.Read) : new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        FileStream file;
        try
        {
            file = new FileStream(path, options);
        }
        catch (IOException e) when (Path.Exists(path))
        {
            throw Exists(path, e);
        }

        using (file)
            file.Write(Encoding.ASCII.GetBytes(text));
    }

    private static ConfigurationException Exists(string path, Exception? inner) => new(IdentityErrors.KeyExists, path, "there is a file of that name, and keys are never replaced.",
        "Choose another folder with --out. The others need the new certificate's pin before the old one goes.", inner);
}
