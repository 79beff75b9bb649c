using System.Text;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Data;

/// <summary>A folder of files for one test.</summary>
internal sealed class TempFolder : IDisposable
{
    // A name without digits: tests look for private numbers in messages, and messages name files.
    private readonly string _path = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), "fedlearn-tests-" + new string(Random.Shared.GetItems("ghijklmnopqrstuvwxyz".AsSpan(), 12)))).FullName;

    public void Dispose() => Directory.Delete(_path, recursive: true);

    internal string this[string name] => Path.Combine(_path, name);

    internal string Write(string name, string text) => Write(name, Encoding.UTF8.GetBytes(text));

    internal string Write(string name, byte[] bytes)
    {
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }
}

/// <summary>Checks of errors.</summary>
internal static class ErrorAssert
{
    /// <summary>The error has this id and place, explains itself, and neither it nor what caused it holds the private text.</summary>
    internal static T Throws<T>(string id, string place, string? secret, Action action) where T : FedLearnException
    {
        T error = Assert.Throws<T>(action);
        Assert.Equal(id, error.Id);
        Assert.Contains(place, error.Place, StringComparison.Ordinal);
        Assert.EndsWith(".", error.Cause, StringComparison.Ordinal);
        Assert.EndsWith(".", error.Remedy, StringComparison.Ordinal);
        for (Exception? e = error; secret is not null && e is not null; e = e.InnerException)
            Assert.DoesNotContain(secret, e.Message, StringComparison.Ordinal);
        return error;
    }
}
