using System.Text;

namespace FedLearn.Cli.Output;

/// <summary>Standard output, which may be a file on a disk that fills up. The runtime keeps quiet about a reader that went away.</summary>
/// <param name="inner">The writer of the runtime.</param>
internal sealed class StandardOutput(TextWriter inner) : TextWriter
{
    private const string Name = "standard output";

    /// <inheritdoc />
    public override Encoding Encoding => inner.Encoding;

    /// <inheritdoc />
    /// <exception cref="Diagnostics.ConfigurationException">FL2102: it cannot be written to.</exception>
    public override void Write(char value) => OutputFile.Guard(Name, () => inner.Write(value));

    /// <inheritdoc />
    /// <exception cref="Diagnostics.ConfigurationException">FL2102: it cannot be written to.</exception>
    public override void Write(char[] buffer, int index, int count) => OutputFile.Guard(Name, () => inner.Write(buffer, index, count));

    /// <inheritdoc />
    /// <exception cref="Diagnostics.ConfigurationException">FL2102: it cannot be written to.</exception>
    public override void Write(string? value) => OutputFile.Guard(Name, () => inner.Write(value));

    /// <inheritdoc />
    /// <exception cref="Diagnostics.ConfigurationException">FL2102: it cannot be written to.</exception>
    public override void WriteLine(string? value) => OutputFile.Guard(Name, () => inner.WriteLine(value));

    /// <inheritdoc />
    public override void Flush() => OutputFile.Guard(Name, inner.Flush);
}
